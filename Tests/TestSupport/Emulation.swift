// Whether tests run on a processor or under an emulator, which has not all that a system has.

import Foundation

package enum Emulation {
  /// Whether an emulator runs this on an x86-64: QEMU shows programs that machine's processors.
  package static let isActive: Bool = {
    #if arch(arm64)
      let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
      return text?.contains("vendor_id") ?? false
    #else
      return false
    #endif
  }()
}
