// Emits comparisons that put elements in order in registers, for AVX-512. Called by SortGenerator.

/// Which of two elements comes first, as instructions. Numbers are compared as what they are, so there is none among
/// them that is not a number, and no zero with a sign.
struct ElementOrder {
  let type: ScalarType
  let isDescending: Bool

  /// - Parameter type: One of elements of 4 or 8 bytes.
  init(_ type: ScalarType, isDescending: Bool) {
    self.type = type
    self.isDescending = isDescending
  }

  var size: Int { type.size }
  var isWide: Bool { size == 8 }
  var lanes: Int { 64 / size }
  /// Masks switch lanes off, so these count the lanes of elements.
  var load: VectorOp { isWide ? .movupd : .movups }
  var store: VectorOp { isWide ? .movupdStore : .movupsStore }

  /// Gives the one of two elements that comes first, and the other one.
  var first: VectorOp { isDescending ? greatest : least }
  var second: VectorOp { isDescending ? least : greatest }

  private var least: VectorOp {
    type.isFloating ? (isWide ? .minpd : .minps) : (isWide ? .pminsq : .pminsd)
  }
  private var greatest: VectorOp {
    type.isFloating ? (isWide ? .maxpd : .maxps) : (isWide ? .pmaxsq : .pmaxsd)
  }

  /// The bytes of an element that no other one comes after.
  var last: [UInt8] {
    let sign: UInt64 = isDescending ? 1 : 0
    let bits: UInt64 =
      switch (type.isFloating, isWide) {
      case (true, true): sign << 63 | Double.infinity.bitPattern
      case (true, false): sign << 31 | UInt64(Float.infinity.bitPattern)
      case (false, true): sign << 63 &+ UInt64(Int64.max) * (1 - sign)
      case (false, false): sign << 31 &+ UInt64(Int32.max) * (1 - sign)
      }
    return withUnsafeBytes(of: bits.littleEndian) { Array($0.prefix(size)) }
  }

  /// `mask = a comes before b`, in the lanes of another mask, 0: in all.
  func comesBefore(
    _ mask: UInt8, _ a: UInt8, _ b: UInt8, orEqual: Bool, lanes: UInt8, _ asm: inout Assembler
  ) {
    // Of what is no number all these are false.
    let floats: UInt8 = isDescending ? (orEqual ? 0x1D : 0x1E) : (orEqual ? 0x12 : 0x11)
    let integers: UInt8 = isDescending ? (orEqual ? 5 : 6) : (orEqual ? 2 : 1)
    let compare: VectorOp =
      type.isFloating ? (isWide ? .cmppdMask : .cmppsMask) : (isWide ? .pcmpqMask : .pcmpdMask)
    asm.vector(
      compare, .z, mask, a, .register(b), immediate: type.isFloating ? floats : integers,
      mask: lanes)
  }
}

/// Emits the comparisons that put the elements of some vectors in order.
///
///     1. The elements of a lane are put in order, lane by lane: comparisons of whole vectors (K. E. Batcher,
///        "Sorting networks and their applications", 1968).
///
///            lane   0 1 2 3                     0 1 2 3
///         vector 0  7 2 9 4                     1 2 0 3      The order goes down a lane, and on in the
///         vector 1  1 8 6 3                     5 2 6 4      next one.
///         vector 2  5 2 0 8                     7 8 9 8
///
///     2. Neighbouring lanes are merged, pairs of these, and so on. An element is compared with that at the mirrored
///        place of both, which leaves the half that comes first before the other one, each first rising and then
///        falling; then in each with the element half as far away, and so on: lanes first, and at last whole vectors
///        again, of which the last three are sorted.
///     3. The lanes are written one behind the other.
///
/// Of the comparisons of a merge only those of lanes take time to bring elements to each other, and they are few:
/// this is why the order is one of lanes. The mask registers from 1 on have the lanes whose places are odd multiples
/// of 1, 2, ... lanes.
struct SortNetwork {
  private let order: ElementOrder
  /// The registers of the elements, in whose order these are in the end.
  private(set) var elements: [UInt8]
  private var free: [UInt8]

  private var lanes: Int { order.lanes }
  private var isWide: Bool { order.isWide }

  /// - Parameter vectors: At most 16; a power of two, or three of them.
  init(_ order: ElementOrder, vectors: Int) {
    self.order = order
    elements = (0..<UInt8(vectors)).map { $0 }
    free = (UInt8(vectors)..<32).map { $0 }
  }

  /// 1, 2, ... up to half of a vector: what lanes are apart that are compared.
  static func distances(_ order: ElementOrder) -> [Int] {
    (0..<order.lanes.trailingZeroBitCount).map { 1 << $0 }
  }

  mutating func emit(_ asm: inout Assembler) {
    orderLanes(&asm)
    for length in Self.distances(order) { merge(length, &asm) }
    turn(&asm)
  }

  /// What comes first of two elements goes to the first vector, in every lane.
  private mutating func compare(_ first: Int, _ second: Int, _ asm: inout Assembler) {
    let result = free.removeFirst()
    asm.vector(order.first, .z, result, elements[first], elements[second])
    asm.vector(order.second, .z, elements[second], elements[first], elements[second])
    free.append(elements[first])
    elements[first] = result
  }

  /// Batcher's merges of odd and even elements, in every lane.
  private mutating func orderLanes(_ asm: inout Assembler) {
    let count = elements.count
    var length = 1
    while length < count {
      var distance = length
      while distance > 0 {
        for start in stride(from: distance % length, to: count - distance, by: 2 * distance) {
          for i in start..<min(start + distance, count - distance)
          where i / (2 * length) == (i + distance) / (2 * length) {
            compare(i, i + distance, &asm)
          }
        }
        distance /= 2
      }
      length *= 2
    }
  }

  /// Merges pairs of so many lanes.
  private mutating func merge(_ length: Int, _ asm: inout Assembler) {
    compareLanes(with: 2 * length - 1, half: length, isMirrored: true, &asm)
    var distance = length / 2
    while distance > 0 {
      compareLanes(with: distance, half: distance, isMirrored: false, &asm)
      distance /= 2
    }
    var group = elements.count
    while group % 2 == 0 {
      for first in elements.indices where first % group < group / 2 {
        compare(first, first + group / 2, &asm)
      }
      group /= 2
    }
    if group == 3 {
      for first in stride(from: 0, to: elements.count, by: 3) {
        compare(first, first + 2, &asm)
        compare(first, first + 1, &asm)
        compare(first + 1, first + 2, &asm)
      }
    }
  }

  /// Compares lanes `i` and `i ^ pattern`, of a vector or of two at mirrored places; the lane with the bit `half`
  /// takes what comes second.
  private mutating func compareLanes(
    with pattern: Int, half: Int, isMirrored: Bool, _ asm: inout Assembler
  ) {
    let mask = UInt8(half.trailingZeroBitCount + 1)
    let exchange = LaneExchange(pattern, isWide: isWide, &free, &asm)
    for first in elements.indices {
      let second = isMirrored ? elements.count - 1 - first : first
      if second < first { break }
      let pair = first == second ? [first] : [first, second]
      let old = pair.map { elements[$0] }
      let others = old.reversed().map { from in
        let other = free.removeFirst()
        exchange.emit(other, from, &asm)
        return other
      }
      for (k, v) in pair.enumerated() {
        elements[v] = free.removeFirst()
        asm.vector(order.first, .z, elements[v], old[k], others[k])
        asm.vector(order.second, .z, elements[v], old[k], others[k], mask: mask)
      }
      free += old + others
    }
    exchange.end(&free)
  }

  /// Brings elements from the order of lanes into that of memory: vectors that are half of all apart are interleaved,
  /// then pairs of these, and so on, and at last three.
  private mutating func turn(_ asm: inout Assembler) {
    let lanes = lanes
    var runs = elements.map { [$0] }
    if runs.count % 2 == 0 {
      let indices = (0..<2).map { part in
        index(&asm) { lane in
          let place = part * lanes + lane
          return place / 2 + place % 2 * lanes
        }
      }
      while runs.count % 2 == 0 {
        let count = runs.count / 2
        runs = (0..<count).map { i in
          zip(runs[i], runs[i + count]).flatMap { a, b in
            let low = permuted(a, indices[0], b, &asm)
            permute(a, indices[1], b, &asm)
            free.append(b)
            return [low, a]
          }
        }
      }
      free += indices
    }
    if runs.count == 3 {
      // Two of three elements, and then the third.
      let pairs = (0..<3).map { part in
        index(&asm) { lane in
          let place = part * lanes + lane
          return place / 3 + place % 3 % 2 * lanes
        }
      }
      let thirds = (0..<3).map { part in
        index(&asm) { lane in
          let place = part * lanes + lane
          return place % 3 == 2 ? lanes + place / 3 : lane
        }
      }
      runs = [
        runs[0].indices.flatMap { i in
          let (a, b, c) = (runs[0][i], runs[1][i], runs[2][i])
          let results = (0..<3).map { part in
            let result = permuted(a, pairs[part], b, &asm)
            permute(result, thirds[part], c, &asm)
            return result
          }
          free += [a, b, c]
          return results
        }
      ]
      free += pairs + thirds
    }
    elements = runs[0]
  }

  /// A register with the numbers of elements of two vectors.
  private mutating func index(_ asm: inout Assembler, _ number: (_ lane: Int) -> Int) -> UInt8 {
    let bytes = (0..<lanes).flatMap { lane in
      withUnsafeBytes(of: UInt64(number(lane)).littleEndian) { Array($0.prefix(order.size)) }
    }
    let register = free.removeFirst()
    asm.vector(.movups, .z, register, .memory(asm.constant(bytes)))
    return register
  }

  /// Elements of `a` and `b`, in another register than theirs.
  private mutating func permuted(
    _ a: UInt8, _ index: UInt8, _ b: UInt8, _ asm: inout Assembler
  ) -> UInt8 {
    let result = free.removeFirst()
    asm.vector(.movups, .z, result, .register(a))
    permute(result, index, b, &asm)
    return result
  }

  private func permute(_ a: UInt8, _ index: UInt8, _ b: UInt8, _ asm: inout Assembler) {
    asm.vector(isWide ? .permt2pd : .permt2ps, .z, a, index, b)
  }
}

/// The exchange of lanes `i` and `i ^ pattern` of a vector.
private struct LaneExchange {
  private let pattern: Int
  private let isWide: Bool
  /// A register with the lanes' numbers, where no other instruction does it alone.
  private var index: UInt8?

  /// Lanes of which an instruction takes the numbers in 16 bytes, or the numbers of these in the vector.
  private var inside: Int { pattern % (isWide ? 2 : 4) }
  private var part: Int { pattern / (isWide ? 2 : 4) }

  init(_ pattern: Int, isWide: Bool, _ free: inout [UInt8], _ asm: inout Assembler) {
    self.pattern = pattern
    self.isWide = isWide
    if isWide || inside == 0 || part == 0 { return }
    let bytes = (0..<16).flatMap { lane in
      withUnsafeBytes(of: UInt32(lane ^ pattern).littleEndian, Array.init)
    }
    let register = free.removeFirst()
    asm.vector(.movups, .z, register, .memory(asm.constant(bytes)))
    index = register
  }

  func end(_ free: inout [UInt8]) {
    if let index { free.append(index) }
  }

  func emit(_ to: UInt8, _ from: UInt8, _ asm: inout Assembler) {
    if let index {
      asm.vector(.permd, .z, to, index, from)
      return
    }
    func numbers(_ pattern: Int) -> UInt8 {
      (0..<4).reduce(0) { $0 | UInt8($1 ^ pattern) << UInt8(2 * $1) }
    }
    var from = from
    if inside != 0 {
      asm.vector(
        .permilps, .z, to, .register(from), immediate: numbers(isWide ? 2 * inside : inside))
      from = to
    }
    if part != 0 { asm.vector(.shuff32x4, .z, to, from, from, immediate: numbers(part)) }
  }
}
