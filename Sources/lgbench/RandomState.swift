// The random numbers of the benchmarks' data. Uses nothing; a copy of another generator's stream,
// because losses can only be compared between libraries that were given the same numbers.

import Foundation

/// NumPy's legacy `RandomState`: the same stream for the same seed, bit for bit up to the rounding
/// of the C library's logarithm.
///
/// The generator is MT19937 of Matsumoto and Nishimura (1998) with their 2002 initialisation.
struct RandomState {
  private static let size = 624
  private static let middle = 397

  private var words: [UInt32]
  private var position = RandomState.size
  /// The polar method makes two normal deviates at a time; this is the one not yet given out.
  private var spareNormal: Double?

  init(seed: UInt32) {
    words = [seed]
    words.reserveCapacity(Self.size)
    for index in 1..<Self.size {
      let previous = words[index - 1]
      words.append(1_812_433_253 &* (previous ^ (previous >> 30)) &+ UInt32(index))
    }
  }

  /// 32 uniform bits.
  mutating func nextWord() -> UInt32 {
    if position == Self.size { refill() }
    var word = words[position]
    position += 1
    word ^= word >> 11
    word ^= (word << 7) & 0x9D2C_5680
    word ^= (word << 15) & 0xEFC6_0000
    return word ^ (word >> 18)
  }

  private mutating func refill() {
    words.withUnsafeMutableBufferPointer { words in
      for index in 0..<Self.size {
        let next = index + 1 == Self.size ? 0 : index + 1
        let far = (index + Self.middle) % Self.size
        let mixed = (words[index] & 0x8000_0000) | (words[next] & 0x7FFF_FFFF)
        words[index] = words[far] ^ (mixed >> 1) ^ (mixed & 1 == 0 ? 0 : 0x9908_B0DF)
      }
    }
    position = 0
  }

  /// Uniform in [0, 1), of 53 bits.
  mutating func uniform() -> Double {
    let high = Double(nextWord() >> 5)
    let low = Double(nextWord() >> 6)
    return (high * 67_108_864 + low) / 9_007_199_254_740_992
  }

  /// Standard normal, by Marsaglia's polar method. The second value of a pair is given out first.
  mutating func normal() -> Double {
    if let spare = spareNormal {
      spareNormal = nil
      return spare
    }
    while true {
      let x = 2 * uniform() - 1
      let y = 2 * uniform() - 1
      let square = x * x + y * y
      if square >= 1 || square == 0 { continue }
      let factor = (-2 * log(square) / square).squareRoot()
      spareNormal = factor * x
      return factor * y
    }
  }

  /// `randn(count)`, scaled and then rounded to single precision, as the peers do it.
  mutating func normals(_ count: Int, scale: (Double) -> Double = { $0 }) -> [Float] {
    (0..<count).map { _ in Float(scale(normal())) }
  }

  /// `randint(0, bound, size=count)`: draws are masked to the next power of two and refused while
  /// too large. For bounds up to 2^32.
  mutating func integers(below bound: Int, count: Int) -> [Int] {
    let largest = UInt32(bound - 1)
    // A range of one value draws nothing.
    guard largest > 0 else { return Array(repeating: 0, count: count) }
    let mask = UInt32.max >> UInt32(largest.leadingZeroBitCount)
    return (0..<count).map { _ in
      while true {
        let draw = nextWord() & mask
        if draw <= largest { return Int(draw) }
      }
    }
  }
}
