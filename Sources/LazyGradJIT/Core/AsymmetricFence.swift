// The expensive half of a fence between two threads of which one is there all the time: the other
// one pays for both. Uses nothing else of the engine.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A fence in all threads of the process at once, for the price of a call into the system: Linux's
/// `membarrier`.
enum AsymmetricFence {
  /// The system's own entry, which takes a variable number of arguments and is therefore not visible
  /// in Swift; with integers only it is called like any other function on the machines below.
  private typealias SystemCall = @convention(c) (Int, Int, Int, Int) -> Int

  #if canImport(Glibc) && os(Linux) && (arch(x86_64) || arch(arm64))
    #if arch(x86_64)
      private static let number = 324
    #else
      private static let number = 283
    #endif
    private static let systemCall: SystemCall? = dlsym(nil, "syscall").map {
      unsafeBitCast($0, to: SystemCall.self)
    }
  #else
    private static let number = 0
    private static let systemCall: SystemCall? = nil
  #endif
  private static let privateExpedited = 8
  private static let registerPrivateExpedited = 16

  /// Whether the system has it and knows that this process uses it.
  static let isAvailable: Bool =
    systemCall.map { $0(number, registerPrivateExpedited, 0, 0) == 0 } ?? false

  static func run() {
    let result = systemCall.map { $0(number, privateExpedited, 0, 0) }
    precondition(result == 0, "LazyGrad: membarrier: expected 0, got \(result ?? -1)")
  }
}
