"use client";
import {
  type Context,
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useInsertionEffect,
  useLayoutEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import type { StockSocket, TaskStatus } from "../client/index.ts";
import { type Listener, NOBODY, type SharedSocket, sharedSocket, UNKNOWN } from "./shared-socket.ts";
import type { Connection, Here } from "./types.ts";

/** With a socket of yours, or with a function that makes one. */
export type SocketProviderProps<S extends StockSocket> = {
  readonly children?: ReactNode;
} & (
  | {
      /** Stays as it is when the provider goes. */
      readonly socket: S;
      readonly open?: never;
    }
  | {
      /**
       * Called in the browser, when the provider has come; the socket is disconnected when the provider goes. In
       * development StrictMode lets both happen twice. For another socket give the provider another `key`.
       */
      readonly open: () => S;
      readonly socket?: never;
    }
);

/** Made by {@link createSocketHooks}. Each hook throws an Error in a component that is not below the provider. */
export interface SocketHooks<Events, S extends StockSocket> {
  readonly SocketProvider: (props: SocketProviderProps<S>) => ReactElement;
  /** To send by; undefined on the server, and before `open` has made it. */
  readonly useSocket: () => S | undefined;
  /** Draws again whenever it changes. */
  readonly useConnection: () => Connection;
  /**
   * Hears an event while the component is there, always by the function of the last render. It draws nothing.
   *
   * @param listener - `answer` if the server asks for an answer
   */
  readonly useEvent: <E extends keyof Events & string>(
    event: E,
    listener: (payload: Events[E], answer?: (answer: unknown) => void) => void,
  ) => void;
  /**
   * Who is in a group with presence, from what the server tells this client. Draws again whenever that changes.
   * A list that was told before the component came is known, if the provider was there.
   */
  readonly usePresence: <Info = unknown>(group: string) => Here<Info>;
  /**
   * How a run of a task stands, by a ticket that the server issued; undefined while nothing is known. For a socket
   * of the namespace of tasks. Draws again with each newer state. Without a ticket it waits for one.
   *
   * @throws TypeError if this is no ticket
   */
  readonly useTask: (ticket: string | undefined) => TaskStatus | undefined;
}

/**
 * A provider of one socket and the hooks for it; call it once for each namespace, in a module.
 *
 * @typeParam Events - what the server sends: `ServerEvents` of the consumer's declaration
 * @typeParam S - the socket, to be had from `useSocket`
 * @example
 * export const { SocketProvider, useConnection, useEvent, usePresence } = createSocketHooks<ServerEvents<Chat>>();
 *
 * root.render(<SocketProvider open={() => io("/chat/lobby")}><Room /></SocketProvider>);
 *
 * function Room() {
 *   const { state } = useConnection();
 *   const { users } = usePresence("chat.lobby");
 *   useEvent("said", ({ text }) => show(text));
 *   return <p>{state}, {users.size} here</p>;
 * }
 */
export function createSocketHooks<
  Events = Readonly<Record<string, unknown>>,
  S extends StockSocket = StockSocket,
>(): SocketHooks<Events, S> {
  const context = createContext<S | undefined | null>(null);
  return {
    // biome-ignore lint/correctness/noComponentHookFactories: modules call it once, for hooks that know their events.
    SocketProvider: (props) => useProvider(context, props),
    useSocket: () => useSocketIn(context),
    useConnection: () => useConnectionOf(useShared(context)),
    useEvent: (event, listener) => useEventOf(useShared(context), event, listener as Listener),
    usePresence: <Info>(group: string) => usePresenceOf(useShared(context), group) as Here<Info>,
    useTask: (ticket) => useTaskOf(useShared(context), ticket),
  };
}

/** Null: there is no provider. */
type SocketContext<S> = Context<S | undefined | null>;

function useProvider<S extends StockSocket>(
  { Provider }: SocketContext<S>,
  { socket: given, open, children }: SocketProviderProps<S>,
): ReactElement {
  const [opened, setOpened] = useState<S>();
  const opening = useLatest(open);
  useEffect(() => {
    const socket = given ?? opening.current?.();
    if (socket === undefined) return;
    // Lists are told early, to components that come later.
    const letGo = sharedSocket(socket).hold();
    if (given !== undefined) return letGo;
    setOpened(socket);
    return () => {
      letGo();
      socket.disconnect();
      setOpened(undefined);
    };
  }, [given, opening]);
  return createElement(Provider, { value: given ?? opened }, children);
}

function useSocketIn<S>(context: SocketContext<S>): S | undefined {
  const socket = useContext(context);
  if (socket === null) throw new Error("a hook of a socket must be used below its SocketProvider");
  return socket;
}

function useShared<S extends StockSocket>(context: SocketContext<S>): SharedSocket | undefined {
  const socket = useSocketIn(context);
  return socket && sharedSocket(socket);
}

function useConnectionOf(shared: SharedSocket | undefined): Connection {
  return useSyncExternalStore(
    shared?.watchConnection ?? nothing,
    () => shared?.connection ?? UNKNOWN,
    () => UNKNOWN,
  );
}

function useEventOf(shared: SharedSocket | undefined, event: string, listener: Listener): void {
  const latest = useLatest(listener);
  useCommit(() => shared?.listen(event, (...args) => latest.current(...args)), [shared, event, latest]);
}

function usePresenceOf(shared: SharedSocket | undefined, group: string): Here {
  const subscribe = useCallback(
    (changed: () => void) => shared?.watchGroup(group, changed) ?? ended,
    [shared, group],
  );
  return useSyncExternalStore(
    subscribe,
    () => shared?.here(group) ?? NOBODY,
    () => NOBODY,
  );
}

function useTaskOf(shared: SharedSocket | undefined, ticket: string | undefined): TaskStatus | undefined {
  const subscribe = useCallback(
    (changed: () => void) => (ticket === undefined ? ended : (shared?.watchRun(ticket, changed) ?? ended)),
    [shared, ticket],
  );
  return useSyncExternalStore(
    subscribe,
    () => (ticket === undefined ? undefined : shared?.status(ticket)),
    () => undefined,
  );
}

/** What the last render that counts was given. */
function useLatest<Value>(value: Value): { readonly current: Value } {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}

/** At once with the component, where an effect comes when events may have come. On the server React warns of it. */
const useCommit = "window" in globalThis ? useLayoutEffect : useEffect;

const ended = (): void => {};
const nothing = (): (() => void) => ended;
