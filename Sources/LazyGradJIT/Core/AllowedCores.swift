// How many cores the process may run on: what the system allows, not what the machine has. Uses nothing
// else of the engine.

import Foundation

extension Settings {
  /// The cores that this process may run on, which `taskset` and containers restrict; where the system
  /// doesn't say, those that the machine has.
  package static var allowedCores: Int {
    #if os(Linux)
      // Swift does not see `sched_getaffinity`, an extension of GNU's; the kernel says the same here.
      if let status = FileManager.default.contents(atPath: "/proc/self/status"),
        let cores = allowedCores(in: String(decoding: status, as: UTF8.self))
      {
        return cores
      }
    #endif
    return max(1, ProcessInfo.processInfo.activeProcessorCount)
  }

  /// The number of cores in the mask of Linux' process status, hexadecimal in groups:
  /// `Cpus_allowed:   00000000,0000000f`.
  package static func allowedCores(in status: String) -> Int? {
    let field = "Cpus_allowed:"
    guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(field) }) else {
      return nil
    }
    var cores = 0
    for character in line.dropFirst(field.count) where character != "," && character != "\t" {
      guard let digit = character.hexDigitValue else { return nil }
      cores += digit.nonzeroBitCount
    }
    return cores == 0 ? nil : cores
  }
}
