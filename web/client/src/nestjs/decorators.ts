/** Decorators that say what of a controller is reported. They leave a mark on the handler or the class, and wrap nothing. */
import type { Props } from '../types.js';
import type { HttpRequest } from './request.js';

const MARKS = Symbol.for('analytics-server.nestjs');

/** What is known of a request when its response has ended. */
export interface Outcome {
  readonly request: HttpRequest;
  readonly status: number;
  readonly durationMs: number;
}

/** Properties of an event: as they are, or made from the request and its outcome. */
export type PropsOf = Props | ((outcome: Outcome) => Props);

export interface TrackOptions {
  /** Also where the request fails; the event then says so in no way but by properties of yours. */
  readonly always?: boolean;
}

/** What the decorators of a handler, and of its class, ask for. */
export interface Marks {
  readonly events: readonly { readonly name: string; readonly props: PropsOf; readonly always: boolean }[];
  readonly isView: boolean;
  readonly isSilent: boolean;
}

type Marked = { [MARKS]?: Marks };

const NONE: Marks = { events: [], isView: false, isSilent: false };

const own = (of: object): Marks => (Object.prototype.hasOwnProperty.call(of, MARKS) ? (of as Marked)[MARKS]! : NONE);

/** The marks of a handler, with those of its class. */
export const marksOf = (handler: object, controller: object): Marks => {
  const [first, second] = [own(handler), own(controller)];
  return {
    events: [...first.events, ...second.events],
    isView: first.isView || second.isView,
    isSilent: first.isSilent || second.isSilent
  };
};

/** Decorates a method or a class. */
export type Decorate = (target: object, key?: string | symbol, descriptor?: PropertyDescriptor) => void;

const mark =
  (change: (marks: Marks) => Marks): Decorate =>
  (target, _key, descriptor) => {
    const marked = (descriptor ? (descriptor.value as object) : target) as Marked;
    marked[MARKS] = change(own(marked));
  };

/** Reports an event when a request to the handler has succeeded. */
export const Track = (name: string, props: PropsOf = {}, { always = false }: TrackOptions = {}): Decorate =>
  mark((marks) => ({ ...marks, events: [...marks.events, { name, props, always }] }));

/** Reports a page view when a request to the handler has succeeded. */
export const TrackView = (): Decorate => mark((marks) => ({ ...marks, isView: true }));

/** Reports nothing of the handler, or of all handlers of the class. */
export const NoTrack = (): Decorate => mark((marks) => ({ ...marks, isSilent: true }));
