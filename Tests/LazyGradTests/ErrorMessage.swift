// What a program is told, for tests of errors.

import LazyGrad

/// The error that `body` ends with, in words.
func message(_ body: () throws -> Void) -> String {
  do {
    try catchingTensorErrors(body)
    return "no error"
  } catch { return "\(error)" }
}
