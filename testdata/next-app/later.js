// A chunk that a page loads after it is shown.
export default function Later() {
  return <p>{process.env.REVISION}</p>;
}
