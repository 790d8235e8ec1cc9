export default function Healthy() {
  return 'healthy';
}
