'use client';
import { useTrack } from '@analytics/client/next';
import { useState } from 'react';

export const Buy = ({ product }: { product: string }) => {
  const track = useTrack();
  const [done, setDone] = useState('');
  const buy = async () => {
    track('buy', { product });
    const answer = await fetch('/api/orders', { method: 'POST', body: JSON.stringify({ product }) });
    setDone(await answer.text());
  };
  return (
    <button id="buy" onClick={buy}>
      Buy {done}
    </button>
  );
};
