// Whether installed code runs on an AArch64. What it may consist of needs no question: the instructions that are
// emitted belong to all of them. Uses CodeMemory.

/// An installed function. As long as it lives it can be called.
struct ARMProbe {
  private typealias Successor = @convention(c) (UInt32) -> UInt32

  private let block: CodeBlock

  /// nil where code memory is refused.
  init?(memory: CodeMemory) {
    // uint32_t successor(uint32_t x): add w0, w0, #1; ret
    let code: [UInt8] = [0x00, 0x04, 0x00, 0x11, 0xC0, 0x03, 0x5F, 0xD6]
    guard let block = memory.install(code, isProbe: true) else { return nil }
    self.block = block
  }

  /// Whether installed code runs and returns what it should.
  var works: Bool {
    withExtendedLifetime(block) {
      let call = unsafeBitCast(block.entry, to: Successor.self)
      return [0, 41, 1 << 31].allSatisfy { call($0) == $0 + 1 }
    }
  }

  var features: CPUFeatures {
    var features = CPUFeatures()
    features.hasNeon = true
    return features
  }

  /// The processor doesn't tell programs.
  var caches: CacheSizes { CacheSizes() }
}
