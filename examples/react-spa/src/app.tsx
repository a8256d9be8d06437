import { OptOut, TrackClick, useAnalytics, useExperiment } from '@analytics/client/react';
import { type FormEvent, useEffect, useState } from 'react';
import type { Events } from './analytics';
import { go, usePath } from './router';

const Notes = () => {
  const analytics = useAnalytics<Events>();
  const variant = useExperiment('add_button');
  const [notes, setNotes] = useState<string[]>([]);
  const add = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const note = String(new FormData(event.currentTarget).get('note'));
    setNotes([...notes, note]);
    analytics.track('note_added', { length: note.length }); // Never what was written.
    event.currentTarget.reset();
  };
  return (
    <form onSubmit={add}>
      <input name="note" aria-label="Note" required />
      <button>{variant === 'plus' ? '+' : 'Add'}</button>
      <ul>
        {notes.map((note, index) => (
          <li key={index}>{note}</li>
        ))}
      </ul>
    </form>
  );
};

const About = () => (
  <>
    <p>
      Notes that are gone when the page is. <a href="https://example.com/">More</a>
    </p>
    <TrackClick name="asked_for_more">
      <button>Tell me more</button>
    </TrackClick>
    <OptOut>Don’t count me</OptOut>
  </>
);

export const App = () => {
  const path = usePath();
  const title = path === '/about' ? 'About' : 'Notes';
  useEffect(() => void (document.title = title), [title]);
  return (
    <main>
      <h1>{title}</h1>
      <nav>
        <button onClick={() => go('/')}>Notes</button> <button onClick={() => go('/about')}>About</button>
      </nav>
      {path === '/about' ? <About /> : <Notes />}
    </main>
  );
};
