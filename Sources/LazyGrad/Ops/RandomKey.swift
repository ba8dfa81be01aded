// Keys of random draws, and the stream that is drawn from where none is given.

internal import LazyGradJIT

/// What a random draw depends on, beside its shape and type: equal keys give equal numbers, on every
/// machine and with any number of threads.
///
///     let key = RandomKey(42)
///     let keys = key.split(2)
///     let weights = Tensor.normal([3, 4], key: keys[0])
///     let noise = Tensor.uniform([3], key: keys[1])
///
/// A key is a value, which a draw does not change: use each for one draw, and make new ones with `split` and
/// `folded(in:)`. Draws without a key take the next of the default stream, in the order of the program;
/// `seedRandom(_:)` starts that anew. Numbers come from the counter-based generator Philox4x32-10 (Salmon,
/// Moraes, Dror and Shaw, Parallel Random Numbers: As Easy as 1, 2, 3, 2011).
public struct RandomKey: Sendable, Hashable, Codable {
  /// The 64 bits of the key.
  public let bits: UInt64

  /// The key of a number: different numbers give independent streams.
  public init(_ seed: UInt64) { bits = seed }

  /// Several keys, independent of each other and of this one.
  public func split(_ count: Int = 2) -> [RandomKey] {
    (0..<Swift.max(count, 0)).map { derived(UInt64($0), 1) }
  }

  /// The key of this one and a number, such as that of a step or a layer.
  public func folded(in number: UInt64) -> RandomKey { derived(number, 2) }

  /// Counters that draws don't reach.
  private func derived(_ number: UInt64, _ use: UInt32) -> RandomKey {
    let block = Philox.block(
      Philox.Block(
        UInt32(truncatingIfNeeded: number), UInt32(truncatingIfNeeded: number >> 32), 0, use),
      words)
    return RandomKey(UInt64(block[0]) | UInt64(block[1]) << 32)
  }

  var words: SIMD2<UInt32> {
    SIMD2(UInt32(truncatingIfNeeded: bits), UInt32(truncatingIfNeeded: bits >> 32))
  }

  /// The next key of the default stream, which threads share: where several draw at a time, which gets
  /// which key is left open.
  public static func next() -> RandomKey {
    Tape.noteInBody(.drew)
    return defaultStream.withLock { stream in
      defer { stream.drawn += 1 }
      return stream.key.folded(in: stream.drawn)
    }
  }

  fileprivate struct Stream {
    var key: RandomKey
    var drawn: UInt64 = 0
  }
}

/// Begins where the system's generator says, until it is seeded.
private let defaultStream = Lock(RandomKey.Stream(key: RandomKey(UInt64.random(in: .min ... .max))))

/// Starts the stream that draws without a key take theirs from: what is drawn after it is the same every
/// time. MyGrad's `random.seed`.
public func seedRandom(_ seed: UInt64) {
  defaultStream.withLock { $0 = RandomKey.Stream(key: RandomKey(seed)) }
}
