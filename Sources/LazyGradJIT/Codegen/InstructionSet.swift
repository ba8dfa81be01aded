// Which instruction set the kernels of new plans use: what the CPU, the system and the settings
// allow, found once, and what a program asks for. Uses CodeMemory, CPUFeatures and the plan cache.

import Synchronization

/// The kernels there are, slowest first among those of a machine.
package enum InstructionSet: UInt8, CaseIterable, Comparable, Sendable {
  /// Swift loops, compiled with the package: everywhere.
  case portable
  /// Machine code for AVX2, FMA and F16C.
  case avx2
  /// Machine code for AVX-512 F, DQ, BW and VL.
  case avx512
  /// Machine code for AArch64.
  case neon

  package var name: String { "\(self)" }

  package init?(name: String) {
    guard let known = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = known
  }

  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// The choice of instruction set.
package enum NativeCode {
  /// What trying to run machine code showed.
  package enum Probe: Sendable {
    case refused(String)
    case runs(CPUFeatures)
  }

  /// What the process may choose from and begins with.
  package struct Choice: Sendable, Equatable {
    package var available: [InstructionSet]
    package var initial: InstructionSet
    /// Why `initial`, as one sentence.
    package var reason: String
    /// The settings that can't be used.
    package var problems: [Settings.Problem] = []

    package init(available: [InstructionSet], initial: InstructionSet, reason: String) {
      self.available = available
      self.initial = initial
      self.reason = reason
    }
  }

  #if arch(arm64)
    private typealias Query = ARMProbe
  #else
    private typealias Query = CPUQuery
  #endif

  private struct Start: Sendable {
    let choice: Choice
    let caches: CacheSizes?
  }

  /// Found at the first use, once.
  private static let start: Start = {
    var caches: CacheSizes?
    let choice = choose(jit: Settings.jit, isa: Settings.instructionSet) {
      if let unsupported = CodeMemory.unsupported { return .refused(unsupported) }
      guard let query = Query(memory: .shared) else {
        let why = CodeMemory.shared.counters.lastRefusal ?? "unknown error"
        return .refused("the system refused executable memory: \(why)")
      }
      guard query.works else { return .refused("installed machine code gave a wrong result") }
      caches = query.caches
      return .runs(query.features)
    }
    choice.problems.forEach(Settings.complain)
    return Start(choice: choice, caches: caches)
  }()

  private static let active = Atomic<UInt8>(start.choice.initial.rawValue)

  /// What kernels of new plans are made for.
  package static var instructionSet: InstructionSet {
    InstructionSet(rawValue: active.load(ordering: .relaxed))!
  }

  /// What this machine runs and the settings allow, slowest first.
  package static var available: [InstructionSet] { start.choice.available }

  /// Why `instructionSet` is what it is, as one sentence.
  package static var reason: String {
    let now = instructionSet
    if now == start.choice.initial { return start.choice.reason }
    return "selected by the program instead of \(start.choice.initial.name)"
  }

  /// The data caches by CPUID; nil where no machine code runs.
  static var probedCaches: CacheSizes? { start.caches }

  /// Makes new plans use an instruction set, and forgets the plans that were made for another.
  ///
  /// - Parameter wanted: nil is what the process began with.
  /// - Returns: false, and nothing changes, when this machine or `LAZYGRAD_JIT=0` does not allow it.
  @discardableResult
  package static func select(_ wanted: InstructionSet?) -> Bool {
    let next = wanted ?? start.choice.initial
    guard available.contains(next) else { return false }
    // A plan that is being made meanwhile may still come into the cache: it runs here as well.
    if active.exchange(next.rawValue, ordering: .relaxed) != next.rawValue {
      PlanCache.shared.removeAll()
    }
    return true
  }

  /// The rules, apart from the process: settings as they are written, nil where not set.
  ///
  /// `LAZYGRAD_JIT=0` leaves the portable kernels only, and nothing is probed. `LAZYGRAD_ISA` is
  /// what the process begins with; where that is unknown or does not run here, it begins with the
  /// best that does and the reason says so.
  package static func choose(jit: String?, isa: String?, probe: () -> Probe) -> Choice {
    let isOn = jit.map { $0.isEmpty ? true : Settings.isOn($0) } ?? true
    var choice: Choice
    if isOn == false {
      choice = Choice(
        available: [.portable], initial: .portable, reason: "LAZYGRAD_JIT=\(jit ?? "")")
      choice.problems = Self.problem(isa)
      return choice
    }
    switch probe() {
    case .refused(let why):
      choice = Choice(available: [.portable], initial: .portable, reason: why)
    case .runs(let features):
      choice = best(features)
    }
    if isOn == nil, let jit {
      choice.problems.append(
        Settings.Problem(name: "LAZYGRAD_JIT", text: "expected 0 or 1, got '\(jit)'"))
    }
    choice.problems += Self.problem(isa)
    guard let isa, isa != "", isa.lowercased() != "auto" else { return choice }
    let known = InstructionSet.allCases.map(\.name).joined(separator: ", ")
    if let wanted = InstructionSet(name: isa.lowercased()) {
      if choice.available.contains(wanted) {
        choice.initial = wanted
        choice.reason = "LAZYGRAD_ISA=\(isa)"
      } else {
        choice.reason = "LAZYGRAD_ISA=\(isa) does not run here: \(choice.reason)"
        let known = choice.available.map(\.name).joined(separator: ", ")
        choice.problems.append(
          Settings.Problem(
            name: "LAZYGRAD_ISA", text: "expected one that runs here (\(known)), got '\(isa)'"))
      }
    } else {
      choice.reason = "LAZYGRAD_ISA: expected auto, \(known), got '\(isa)': \(choice.reason)"
    }
    return choice
  }

  /// What is wrong with the name of an instruction set, on whatever machine.
  private static func problem(_ isa: String?) -> [Settings.Problem] {
    guard let isa, isa != "", isa.lowercased() != "auto",
      InstructionSet(name: isa.lowercased()) == nil
    else { return [] }
    let known = InstructionSet.allCases.map(\.name).joined(separator: ", ")
    return [
      Settings.Problem(name: "LAZYGRAD_ISA", text: "expected auto, \(known), got '\(isa)'")
    ]
  }

  private static func best(_ features: CPUFeatures) -> Choice {
    if features.hasNeon {
      return Choice(
        available: [.portable, .neon], initial: .neon, reason: "the CPU is an AArch64")
    }
    guard features.hasAVX2 else {
      return Choice(
        available: [.portable], initial: .portable, reason: "the CPU lacks AVX2, FMA or F16C")
    }
    guard features.savesYMM else {
      return Choice(
        available: [.portable], initial: .portable,
        reason: "the CPU has AVX2 but the system does not save its state")
    }
    guard features.hasAVX512 else {
      return Choice(
        available: [.portable, .avx2], initial: .avx2,
        reason: "the CPU has AVX2 and FMA but not AVX-512, and the system saves their state")
    }
    guard features.savesZMM else {
      return Choice(
        available: [.portable, .avx2], initial: .avx2,
        reason: "the CPU has AVX-512 but the system saves the state of AVX2 only")
    }
    return Choice(
      available: [.portable, .avx2, .avx512], initial: .avx512,
      reason: "the CPU has AVX-512 and the system saves its state")
  }
}
