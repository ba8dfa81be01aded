// Numbers that tell whether bytes are the same on all ranks. Uses nothing else of the library.

/// A 64-bit hash of bytes, which is the same in every process on machines of one byte order.
///
/// Each 8 bytes are mixed in as SplitMix64 mixes its state (Steele, Lea and Flood, Fast Splittable Pseudorandom
/// Number Generators, 2014). It finds accidents; it does not withstand an adversary.
struct Fingerprint {
  private(set) var value: UInt64 = 0x9e37_79b9_7f4a_7c15

  init() {}

  init(of text: String) {
    add(UInt64(text.utf8.count))
    Array(text.utf8).withUnsafeBytes { add($0) }
  }

  mutating func add(_ word: UInt64) {
    var mixed = (value ^ word) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    value = mixed ^ (mixed >> 31)
  }

  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    let whole = bytes.count / 8
    for i in 0..<whole { add(bytes.loadUnaligned(fromByteOffset: 8 * i, as: UInt64.self)) }
    var rest: UInt64 = 0
    for i in 8 * whole..<bytes.count { rest = rest << 8 | UInt64(bytes[i]) }
    add(rest)
  }
}
