/** Something that is known now or, where somebody else has to be asked, later. */
export type Soon<T> = T | Promise<T>;

/** Goes on with it: at once, if it is known. A promise for each of many thousands of newcomers has its price. */
export function soon<T, R>(value: Soon<T>, then: (value: T) => R): Soon<R> {
  return value instanceof Promise ? value.then(then) : then(value);
}
