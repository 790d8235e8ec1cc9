// A page made on the server from what the backend says of itself.
import dynamic from 'next/dynamic';

const Later = dynamic(() => import('../later'), { ssr: false });

export async function getServerSideProps() {
  const { BACKEND_URL = 'http://127.0.0.1:5080' } = process.env;
  const answer = await fetch(`${BACKEND_URL}/api/v1/health`);
  const { slot, revision } = await answer.json();
  return { props: { revision: process.env.REVISION, backend: { status: answer.status, slot, revision } } };
}

export default function Page({ revision, backend }) {
  return <main>{revision} asked {backend.revision} <Later /></main>;
}
