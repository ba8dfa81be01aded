// Tests of the choice of instruction set: the rules over settings and features, as a pure function,
// and what this machine makes of them.

import Foundation
import LazyGradJIT
import Testing

private func features(
  avx2: Bool = true, avx512: Bool = true, ymm: Bool = true, zmm: Bool = true
) -> NativeCode.Probe {
  var features = CPUFeatures()
  features.hasAVX2 = avx2
  features.hasAVX512 = avx512
  features.savesYMM = ymm
  features.savesZMM = zmm
  return .runs(features)
}

private func choose(
  jit: String? = nil, isa: String? = nil, _ probe: NativeCode.Probe = features()
) -> NativeCode.Choice {
  NativeCode.choose(jit: jit, isa: isa) { probe }
}

@Suite struct InstructionSetTests {
  @Test func names() {
    #expect(InstructionSet.allCases.map(\.name) == ["portable", "avx2", "avx512", "neon"])
    for set in InstructionSet.allCases { #expect(InstructionSet(name: set.name) == set) }
    #expect(InstructionSet(name: "sse2") == nil)
    #expect(InstructionSet.portable < .avx2 && InstructionSet.avx2 < .avx512)
  }

  @Test func theBestThatTheCPUHasAndTheSystemSaves() {
    #expect(
      choose()
        == NativeCode.Choice(
          available: [.portable, .avx2, .avx512], initial: .avx512,
          reason: "the CPU has AVX-512 and the system saves its state"))
    var choice = choose(features(avx512: false, zmm: false))
    #expect(choice.available == [.portable, .avx2])
    #expect(choice.initial == .avx2)
    choice = choose(features(zmm: false))
    #expect(choice.available == [.portable, .avx2])
    #expect(choice.initial == .avx2)
    #expect(choice.reason == "the CPU has AVX-512 but the system saves the state of AVX2 only")
    choice = choose(features(ymm: false, zmm: false))
    #expect(choice.available == [.portable])
    #expect(choice.reason == "the CPU has AVX2 but the system does not save its state")
    choice = choose(features(avx2: false, avx512: false))
    #expect(choice.available == [.portable])
    #expect(choice.reason == "the CPU lacks AVX2, FMA or F16C")
  }

  @Test func anAArch64() {
    var features = CPUFeatures()
    features.hasNeon = true
    #expect(
      choose(.runs(features))
        == NativeCode.Choice(
          available: [.portable, .neon], initial: .neon, reason: "the CPU is an AArch64"))
    #expect(choose(isa: "portable", .runs(features)).initial == .portable)
    // What another machine has is known, but doesn't run.
    let forced = choose(isa: "avx2", .runs(features))
    #expect(forced.initial == .neon)
    #expect(forced.reason == "LAZYGRAD_ISA=avx2 does not run here: the CPU is an AArch64")
    #expect(choose(isa: "neon").initial == .avx512)
    #expect(!choose().available.contains(.neon))
  }

  @Test func aRefusalLeavesThePortableKernels() {
    let why = "the system refused executable memory: Permission denied"
    #expect(
      choose(.refused(why))
        == NativeCode.Choice(available: [.portable], initial: .portable, reason: why))
    let forced = choose(isa: "avx2", .refused(why))
    #expect(forced.initial == .portable)
    #expect(forced.reason == "LAZYGRAD_ISA=avx2 does not run here: \(why)")
  }

  @Test(arguments: ["0", "off", "false", "OFF"])
  func theJITSwitchedOffProbesNothing(_ value: String) {
    for isa in [nil, "avx512", "nonsense"] {
      let choice = NativeCode.choose(jit: value, isa: isa) {
        Issue.record("probed")
        return features()
      }
      #expect(choice.available == [.portable] && choice.initial == .portable)
      #expect(choice.reason == "LAZYGRAD_JIT=\(value)")
      #expect(choice.problems.isEmpty == (isa != "nonsense"))
    }
  }

  @Test(arguments: [nil, "1", "on", "", "yes"])
  func otherValuesOfTheSwitchLeaveItOn(_ value: String?) {
    #expect(choose(jit: value).initial == .avx512)
  }

  @Test func theSettingChoosesTheFirst() {
    for wanted in choose().available {
      let choice = choose(isa: wanted.name)
      #expect(choice.initial == wanted)
      #expect(choice.available == [.portable, .avx2, .avx512])
      #expect(choice.reason == "LAZYGRAD_ISA=\(wanted.name)")
    }
    #expect(choose(isa: "AVX2").initial == .avx2)
    for same in ["", "auto", "Auto"] { #expect(choose(isa: same) == choose()) }
  }

  @Test func whatDoesNotRunIsSaid() {
    let choice = choose(isa: "avx512", features(zmm: false))
    #expect(choice.initial == .avx2)
    #expect(choice.reason.hasPrefix("LAZYGRAD_ISA=avx512 does not run here: the CPU has AVX-512"))
  }

  @Test(arguments: ["sse2", "avx-512", " avx2", "2", "portable,avx2"])
  func unknownValuesAreSaid(_ value: String) {
    let choice = choose(isa: value)
    #expect(choice.initial == .avx512)
    #expect(
      choice.reason.hasPrefix(
        "LAZYGRAD_ISA: expected auto, portable, avx2, avx512, neon, got '\(value)': "))
  }

  /// The settings of this process may choose, but never what the CPU lacks.
  @Test func thisMachine() {
    let available = NativeCode.available
    #expect(available.first == .portable)
    #expect(available == available.sorted())
    #expect(available.contains(NativeCode.instructionSet))
    #expect(!NativeCode.reason.isEmpty)
    #if os(Linux) && arch(x86_64)
      let text = FileManager.default.contents(atPath: "/proc/cpuinfo")!
      let flags = Set(
        String(decoding: text, as: UTF8.self).split(separator: "\n")
          .first { $0.hasPrefix("flags") }!.split(separator: " "))
      // The system lists a feature only where it saves the state.
      let runs: [InstructionSet: Bool] = [
        .portable: true, .avx2: flags.isSuperset(of: ["avx2", "fma"]),
        .avx512: flags.isSuperset(of: [
          "avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl",
        ]), .neon: false,
      ]
      let isOff = NativeCode.reason.hasPrefix("LAZYGRAD_JIT")
      for set in InstructionSet.allCases where !isOff {
        #expect(available.contains(set) == runs[set]!, "\(set)")
      }
    #elseif os(Linux) && arch(arm64)
      let isOff = NativeCode.reason.hasPrefix("LAZYGRAD_JIT")
      #expect(available == (isOff ? [.portable] : [.portable, .neon]))
    #elseif !(os(macOS) && arch(arm64))
      #expect(available == [.portable])
    #endif
  }

  // In processes of their own: the other tests' kernels must not change under them.

  #if os(Linux) || os(macOS)
    @Test func selecting() async {
      await #expect(processExitsWith: .success) {
        for set in InstructionSet.allCases {
          let active = NativeCode.instructionSet
          let isAvailable = NativeCode.available.contains(set)
          #expect(NativeCode.select(set) == isAvailable)
          #expect(NativeCode.instructionSet == (isAvailable ? set : active))
        }
        #expect(NativeCode.select(nil))
        #expect(!NativeCode.reason.hasPrefix("selected"))
        let initial = NativeCode.instructionSet
        if let other = NativeCode.available.first(where: { $0 != initial }) {
          #expect(NativeCode.select(other))
          #expect(NativeCode.reason == "selected by the program instead of \(initial.name)")
        }
      }
    }
  #endif

  #if os(Linux) && (arch(x86_64) || arch(arm64))
    @Test func aSystemThatRefusesCodeMemory() async {
      await #expect(processExitsWith: .success) {
        CodeMemory.shared.fail(at: .protect)
        #expect(NativeCode.instructionSet == .portable)
        #expect(NativeCode.available == [.portable])
        #expect(!NativeCode.select(.avx2))
        #expect(NativeCode.select(nil))
        #expect(CacheSizes.machine.level1 > 0)
        let counters = CodeMemory.shared.counters
        #expect(counters.liveBytes == 0)
        // LAZYGRAD_JIT=0 asks for none, and LAZYGRAD_ISA adds to the reason.
        if NativeCode.reason.hasPrefix("LAZYGRAD_JIT") {
          #expect(counters.refusals == 0)
        } else {
          let why = "the system refused executable memory: Permission denied"
          #expect(NativeCode.reason.hasSuffix(why) || NativeCode.reason == "LAZYGRAD_ISA=portable")
          #expect(counters.refusals == 1)
        }
      }
    }
  #endif

  @Test func cacheSizes() {
    let sizes = CacheSizes.machine
    #expect((8 << 10...1 << 20).contains(sizes.level1))
    #expect((sizes.level1...1 << 30).contains(sizes.level2))
    #expect(sizes.level3 >= 0)
  }
}
