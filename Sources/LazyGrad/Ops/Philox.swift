// The generator of random bits: a function of a key and a counter, without state, so that any part of a
// stream can be had alone. Uses the engine's machine code for it.

internal import LazyGradJIT

/// Philox4x32-10 of Salmon, Moraes, Dror and Shaw (Parallel Random Numbers: As Easy as 1, 2, 3, 2011): ten
/// rounds of two multiplications on a block of four words.
enum Philox {
  typealias Block = SIMD4<UInt32>

  private static let multipliers: (UInt64, UInt64) = (0xD251_1F53, 0xCD9E_8D57)
  private static let weyl: (UInt32, UInt32) = (0x9E37_79B9, 0xBB67_AE85)

  /// The block of a counter.
  static func block(_ counter: Block, _ key: SIMD2<UInt32>) -> Block {
    var x = counter
    var k = key
    for _ in 0..<10 {
      let first = multipliers.0 &* UInt64(x[0])
      let second = multipliers.1 &* UInt64(x[2])
      x = Block(
        UInt32(truncatingIfNeeded: second >> 32) ^ x[1] ^ k[0],
        UInt32(truncatingIfNeeded: second),
        UInt32(truncatingIfNeeded: first >> 32) ^ x[3] ^ k[1],
        UInt32(truncatingIfNeeded: first))
      k &+= SIMD2(weyl.0, weyl.1)
    }
    return x
  }

  /// Words of the stream of a key, from the first on. Block `i` is that of the counter whose lower 64 bits
  /// are `i`.
  ///
  /// - Parameter bits: What machine code, where there is some, makes of the words that it writes.
  /// - Returns: The words that have been written as `bits`, from the first on; behind them are words.
  @discardableResult
  static func fill(
    _ words: UnsafeMutablePointer<UInt32>, _ count: Int, key: SIMD2<UInt32>,
    as bits: PhiloxCode.Bits = .words
  ) -> Int {
    let written = 4 * (PhiloxCode.active(bits)?.fill(words, count / 4, key: key) ?? 0)
    var done = written
    while count - done >= 4 * Lanes.scalarCount {
      fillLanes(words + done, firstBlock: UInt64(done / 4), key)
      done += 4 * Lanes.scalarCount
    }
    while done < count {
      let number = UInt64(done / 4)
      let block = block(
        Block(UInt32(truncatingIfNeeded: number), UInt32(truncatingIfNeeded: number >> 32), 0, 0),
        key)
      for k in 0..<min(4, count - done) { words[done + k] = block[k] }
      done += 4
    }
    return written
  }

  /// One word of several blocks.
  private typealias Lanes = SIMD8<UInt32>

  /// Eight blocks at a time.
  private static func fillLanes(
    _ words: UnsafeMutablePointer<UInt32>, firstBlock: UInt64, _ key: SIMD2<UInt32>
  ) {
    let numbers =
      SIMD8<UInt64>(repeating: firstBlock) &+ SIMD8<UInt64>(0, 1, 2, 3, 4, 5, 6, 7)
    var a = Lanes(truncatingIfNeeded: numbers)
    var b = Lanes(truncatingIfNeeded: numbers &>> 32)
    var c = Lanes(repeating: 0)
    var d = Lanes(repeating: 0)
    var (k, l) = (key[0], key[1])
    for _ in 0..<10 {
      let first = SIMD8<UInt64>(truncatingIfNeeded: a) &* multipliers.0
      let second = SIMD8<UInt64>(truncatingIfNeeded: c) &* multipliers.1
      a = Lanes(truncatingIfNeeded: second &>> 32) ^ b ^ k
      b = Lanes(truncatingIfNeeded: second)
      c = Lanes(truncatingIfNeeded: first &>> 32) ^ d ^ l
      d = Lanes(truncatingIfNeeded: first)
      k &+= weyl.0
      l &+= weyl.1
    }
    for i in 0..<Lanes.scalarCount {
      words[4 * i] = a[i]
      words[4 * i + 1] = b[i]
      words[4 * i + 2] = c[i]
      words[4 * i + 3] = d[i]
    }
  }
}
