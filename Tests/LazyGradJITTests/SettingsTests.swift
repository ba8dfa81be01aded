// How settings are read, and what a broken promise about threads ends with.

import LazyGradJIT
import Testing

@Suite struct SettingsTests {
  @Test("Numbers of bytes")
  func bytes() {
    for (text, count) in [
      ("0", 0), ("1048576", 1 << 20), ("10M", 10 << 20), ("10m", 10 << 20), ("1K", 1024),
      ("2G", 2 << 30), ("3TiB", 3 << 40), ("64KiB", 1 << 16), ("8388607T", 8_388_607 << 40),
    ] { #expect(Settings.byteCount(text) == count, "\(text)") }
    for text in [
      "", "M", "10MB", "10 M", "-1", "+1", "-5K", "1.5G", "1e9", "0x10", "10iB", "iB", "K10", "1KM",
      "8388608T", "9223372036854775808", "99999999999999999999G", "\u{0661}",
    ] { #expect(Settings.byteCount(text) == nil, "\(text)") }
  }

  @Test("Switches")
  func switches() {
    #expect(["0", "off", "FALSE"].allSatisfy { Settings.isOn($0) == false })
    #expect(["1", "on", "True"].allSatisfy { Settings.isOn($0) == true })
    #expect(["2", "yes", " ", "-0"].allSatisfy { Settings.isOn($0) == nil })
  }

  @Test("Allowed cores")
  func cores() {
    func count(_ mask: String) -> Int? {
      Settings.allowedCores(in: "Name:\tx\nCpus_allowed:\t\(mask)\nCpus_allowed_list:\t0-9\n")
    }
    #expect(count("3") == 2 && count("1") == 1 && count("ffffffff,ffffffff") == 64)
    #expect(count("00000000,00000000,80000001") == 2 && count("aF,00000001") == 7)
    #expect(count("0") == nil && count("what") == nil && Settings.allowedCores(in: "") == nil)
    #expect(Settings.allowedCores >= 1)
  }

  @Test("An instruction set that can't be had is a problem, one that can is none")
  func instructionSets() {
    func problems(_ jit: String?, _ isa: String?) -> [String] {
      NativeCode.choose(jit: jit, isa: isa) { .refused("no machine") }.problems
        .map { "\($0.name): \($0.text)" }
    }
    #expect(problems(nil, nil).isEmpty && problems("1", "Auto").isEmpty)
    #expect(problems("0", "portable").isEmpty && problems("", "").isEmpty)
    #expect(
      problems(nil, "avx2")
        == ["LAZYGRAD_ISA: expected one that runs here (portable), got 'avx2'"])
    #expect(
      problems("x", "foo") == [
        "LAZYGRAD_JIT: expected 0 or 1, got 'x'",
        "LAZYGRAD_ISA: expected auto, portable, avx2, avx512, neon, got 'foo'",
      ])
    #expect(problems("off", "foo").count == 1)
  }

  #if os(Linux) || os(macOS)
    /// What a broken confinement would leave behind is made here by hand.
    @Test("Where confinement is broken the program says so", arguments: 0..<3)
    func confinement(_ kind: Int) async {
      let result: ExitTest.Result? =
        switch kind {
        case 0:
          await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let slot = value()
            _ = Tape.surrender(slot)
            _ = Tape.share(slot)
          }
        case 1:
          await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let result = Tape.elementwise(.neg, value(), mode: .plain).slot
            let tape = Tape.hold(result)
            _ = tape.location(of: result.node!)
          }
        default:
          await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let result = Tape.elementwise(.neg, value(), mode: .plain).slot
            let tape = Tape.hold(result)
            tape[result.node!].state.insert(.dead)
            tape.unlock()
            try Engine.force(result)
          }
        }
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(text.contains("LazyGrad: a tensor was used by two threads at once"), "\(text)")
    }
  #endif
}

#if os(Linux) || os(macOS)
  /// A handle for a number in memory.
  private func value() -> SlotRef {
    let tape = Tape.current
    tape.lock()
    defer { tape.unlock() }
    let storage = try! Storage(byteCount: 8)
    storage.pointer.storeBytes(of: 1, as: Double.self)
    return tape.makeSlot(
      storage: Unmanaged.passRetained(storage), layout: LayoutTable.scalar, offset: 0,
      type: .float64, isVariable: false)
  }
#endif
