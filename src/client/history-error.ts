/**
 * Why a history could not be had. `code` is the server's (`no_handler`: it is not for this client, or there is
 * none; `invalid_message`, `rate_limited`, `layer_unavailable`), or `not_connected`, `connection_lost`,
 * `timeout`, `invalid_answer`.
 */
export class HistoryError extends Error {
  override readonly name = "HistoryError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}
