// How many random programs a test runs, and from which seed on.

import Foundation

enum FuzzSeeds {
  /// A soak test sets `LAZYGRAD_FUZZ_COUNT` higher; to repeat one failure, `LAZYGRAD_FUZZ_SEED` is its seed.
  ///
  /// - Parameters:
  ///   - usual: Programs where the environment says nothing.
  ///   - debug: The same in a debug build.
  static func range(usual: Int, debug: Int) -> Range<UInt64> {
    #if DEBUG
      let count = debug
    #else
      let count = usual
    #endif
    let environment = ProcessInfo.processInfo.environment
    let first = environment["LAZYGRAD_FUZZ_SEED"].flatMap { UInt64($0) } ?? 1
    return
      first..<(first + (environment["LAZYGRAD_FUZZ_COUNT"].flatMap { UInt64($0) } ?? UInt64(count)))
  }
}
