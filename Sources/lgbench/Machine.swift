// Facts about the machine, read from the system: /proc and /sys on Linux, sysctl on macOS. Used by
// the header, the JSON and the doctor.

import Foundation
import LazyGrad

/// The machine that the numbers belong to.
struct Machine {
  /// The instruction set that the engine's kernels are made for.
  static var tier: String { LazyGradEngine.instructionSet }

  let cpu: String
  let cores: Int
  let system: String

  init() {
    cores = ProcessInfo.processInfo.activeProcessorCount
    #if canImport(Darwin)
      cpu = Self.sysctl("machdep.cpu.brand_string") ?? "unknown CPU"
      system = "macOS " + ProcessInfo.processInfo.operatingSystemVersionString
    #else
      cpu = Self.cpuField("model name") ?? Self.architecture + " CPU"
      let release = Self.read("/etc/os-release")?.split(separator: "\n")
        .first { $0.hasPrefix("PRETTY_NAME=") }?
        .dropFirst("PRETTY_NAME=".count)
        .trimmingCharacters(in: CharacterSet(charactersIn: "\""))
      system = release ?? "Linux"
    #endif
  }

  /// What the running binary was compiled for.
  static var architecture: String {
    #if arch(x86_64)
      "x86_64"
    #elseif arch(arm64)
      "arm64"
    #else
      "unknown architecture"
    #endif
  }

  /// Of the CPU features that matter to array code, those that this machine has; nil where the
  /// system does not say.
  var features: [(name: String, isPresent: Bool)]? {
    #if canImport(Darwin)
      return nil
    #else
      guard let flags = Self.cpuField("flags") ?? Self.cpuField("Features") else { return nil }
      let present = Set(flags.split(separator: " "))
      #if arch(arm64)
        let wanted = ["asimd", "asimdhp", "asimddp", "sve", "sve2"]
      #else
        let wanted = ["sse2", "avx", "avx2", "fma", "avx512f", "avx512vl"]
      #endif
      return wanted.map { ($0, present.contains(Substring($0))) }
    #endif
  }

  /// The caches that a core sees, for instance `L1 data 48 KiB`: the first one, or a fast one where there are
  /// others.
  var caches: [String] {
    #if canImport(Darwin)
      func bytes(_ key: String) -> Int64 {
        var bytes: Int64 = 0
        var size = MemoryLayout<Int64>.size
        return sysctlbyname(key, &bytes, &size, nil, 0) == 0 ? bytes : 0
      }
      return [("L1 data", "l1dcachesize"), ("L2", "l2cachesize"), ("L3", "l3cachesize")]
        .compactMap { name, key in
          let fast = bytes("hw.perflevel0." + key)
          let size = fast > 0 ? fast : bytes("hw." + key)
          return size > 0 ? "\(name) \(size / 1024) KiB" : nil
        }
    #else
      let root = "/sys/devices/system/cpu/cpu0/cache"
      let entries = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
      return entries.filter { $0.hasPrefix("index") }.sorted().compactMap { entry in
        func value(_ name: String) -> String? {
          Self.read("\(root)/\(entry)/\(name)")?.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        guard let level = value("level"), let type = value("type"), let size = value("size") else {
          return nil
        }
        let kind = type == "Unified" ? "" : " " + type.lowercased()
        return "L\(level)\(kind) " + size.replacingOccurrences(of: "K", with: " KiB")
      }
    #endif
  }

  /// The kernel's policy for transparent huge pages: the word in brackets.
  var hugePages: String? {
    guard let text = Self.read("/sys/kernel/mm/transparent_hugepage/enabled"),
      let open = text.firstIndex(of: "["), let close = text.firstIndex(of: "]"), open < close
    else { return nil }
    return String(text[text.index(after: open)..<close])
  }

  var pageSize: Int { Int(getpagesize()) }

  private static func read(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The first value of a field of /proc/cpuinfo.
  private static func cpuField(_ name: String) -> String? {
    for line in read("/proc/cpuinfo")?.split(separator: "\n") ?? [] {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2, parts[0].trimmingCharacters(in: .whitespaces) == name {
        return parts[1].trimmingCharacters(in: .whitespaces)
      }
    }
    return nil
  }

  #if canImport(Darwin)
    private static func sysctl(_ name: String) -> String? {
      var size = 0
      guard sysctlbyname(name, nil, &size, nil, 0) == 0, size > 1 else { return nil }
      var bytes = [UInt8](repeating: 0, count: size)
      guard sysctlbyname(name, &bytes, &size, nil, 0) == 0 else { return nil }
      return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  #endif
}
