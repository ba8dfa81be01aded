// Emits the two steps of sorting by parts, for AVX-512. Uses the assembler.

/// Keys of 4 or 8 bytes that are compared as numbers without a sign.
struct SortGenerator {
  private var asm = Assembler()
  private let isWide: Bool
  private let from = GPR.rsi
  private let to = GPR.rdx
  private let count = GPR.rcx

  private var lanes: Int { isWide ? 8 : 16 }
  private var size: UInt8 { isWide ? 8 : 4 }
  /// Masks switch lanes off, so these count the lanes of keys.
  private var load: VectorOp { isWide ? .movupd : .movups }
  private var store: VectorOp { isWide ? .movupdStore : .movupsStore }
  private var compress: VectorOp { isWide ? .pcompressq : .pcompressd }

  /// The most vectors that are put in order: three times as many registers are needed.
  private static let mostVectors = 8

  /// The most keys that are put in order.
  static func mostOrdered(isWide: Bool) -> Int { mostVectors * (isWide ? 8 : 16) }

  static func parting(isWide: Bool) -> [UInt8] {
    var generator = SortGenerator(isWide: isWide)
    generator.emitParting()
    return generator.asm.finish()
  }

  static func ordering(isWide: Bool) -> [UInt8] {
    var generator = SortGenerator(isWide: isWide)
    generator.emitOrdering()
    return generator.asm.finish()
  }

  private init(isWide: Bool) { self.isWide = isWide }

  private func argument(_ path: PartialKeyPath<SortSteps.Arguments>) -> Memory {
    Memory(.rdi, MemoryLayout<SortSteps.Arguments>.offset(of: path)!)
  }

  /// `mask = a < b`, in the lanes of another mask, 0: in all.
  private mutating func less(
    _ mask: UInt8, _ a: UInt8, _ b: RegisterOrMemory, lanes: UInt8 = 0
  ) {
    asm.vector(isWide ? .pcmpuqMask : .pcmpudMask, .z, mask, a, b, immediate: 1, mask: lanes)
  }

  private mutating func mask(_ mask: UInt8, _ bits: GPR) {
    asm.vector(.kmovwFromGPR, .x, mask, .register(bits.rawValue))
  }

  private mutating func bits(_ register: GPR, _ mask: UInt8) {
    asm.vector(.kmovwToGPR, .x, register.rawValue, .register(mask))
  }

  /// The keys of a vector that are in a mask, one beside the other.
  private mutating func compress(_ result: UInt8, _ keys: UInt8, _ mask: UInt8) {
    asm.vector(compress, .z, keys, .register(result), mask: mask, zeroing: true)
  }

  // MARK: Parting

  /// A vector of keys becomes two, which are stored where the gap between the parts begins and ends. The gap is as
  /// large as what has not been read, so that the whole first vector may be stored: what it has too much of is
  /// written again.
  private mutating func emitParting() {
    let (end, vectors, below, ones) = (GPR.r8, GPR.r9, GPR.r10, GPR.r11)
    let (pivot, first, kept, rest): (UInt8, UInt8, UInt8, UInt8) = (0, 1, 2, 3)
    let (isBelow, isRest, isStored, isThere): (UInt8, UInt8, UInt8, UInt8) = (1, 2, 3, 4)
    asm.mov(from, argument(\.from))
    asm.mov(to, argument(\.to))
    asm.mov(end, argument(\.end))
    asm.mov(count, argument(\.count))
    asm.vector(
      isWide ? .pbroadcastq : .pbroadcastd, .z, pivot, .memory(argument(\.pivot)))
    asm.mov(ones, -1)
    asm.mov(vectors, count)
    asm.shr(vectors, UInt8(lanes.trailingZeroBitCount))
    let (tail, done) = (asm.label(), asm.label())
    asm.test(vectors, vectors)
    asm.jump(.equal, tail)
    asm.align16()
    let loop = asm.here()
    asm.vector(load, .z, first, .memory(Memory(from)))
    less(isBelow, first, .register(pivot))
    bits(.rax, isBelow)
    compress(kept, first, isBelow)
    asm.vector(.knotw, .x, isRest, .register(isBelow))
    compress(rest, first, isRest)
    asm.popcnt(below, .rax)
    asm.vector(store, .z, kept, .memory(Memory(to)))
    asm.lea(to, Memory(to, index: below, scale: size))
    asm.mov(.rax, lanes)
    asm.sub(.rax, below)
    asm.sub(below, lanes)
    asm.lea(end, Memory(end, index: below, scale: size))
    asm.bzhi(.rax, ones, .rax)
    mask(isStored, .rax)
    asm.vector(store, .z, rest, .memory(Memory(end)), mask: isStored)
    asm.add(from, 64)
    asm.sub(vectors, 1)
    asm.jump(.notEqual, loop)

    asm.bind(tail)
    asm.arithmetic(.and, count, lanes - 1)
    asm.jump(.equal, done)
    asm.bzhi(.rax, ones, count)
    mask(isThere, .rax)
    asm.vector(load, .z, first, .memory(Memory(from)), mask: isThere, zeroing: true)
    less(isBelow, first, .register(pivot), lanes: isThere)
    asm.vector(.kandnw, .x, isRest, isBelow, .register(isThere))
    // What is left of the gap takes both.
    for (result, chosen) in [(kept, isBelow), (rest, isRest)] {
      compress(result, first, chosen)
      bits(.rax, chosen)
      asm.popcnt(below, .rax)
      asm.bzhi(.rax, ones, below)
      mask(isStored, .rax)
      asm.vector(store, .z, result, .memory(Memory(to)), mask: isStored)
      if chosen == isBelow { asm.lea(to, Memory(to, index: below, scale: size)) }
    }
    asm.bind(done)
    asm.mov(argument(\.to), to)
    asm.vzeroupper()
    asm.ret()
  }

  // MARK: Ordering

  /// Keys are put in order by a network of comparisons: each vector by itself, then pairs of vectors that are in
  /// order, pairs of pairs, and so on (K. E. Batcher, "Sorting networks and their applications", 1968). Vectors
  /// are filled up with the greatest key there is.
  ///
  /// To merge, a key is compared with that at the mirrored place, which leaves the smaller half before the greater
  /// one, each rising and then falling; then in each with that half as far away, and so on. So a key at an odd
  /// place always takes the greater of two, wherever it is: one mask for each distance.
  private mutating func emitOrdering() {
    asm.mov(from, argument(\.from))
    asm.mov(to, argument(\.to))
    asm.mov(count, argument(\.count))
    for (place, distance) in distances.enumerated() {
      let upper = (0..<lanes).reduce(0) { $1 & distance == 0 ? $0 : $0 | 1 << $1 }
      asm.mov(.rax, upper)
      mask(UInt8(place + 1), .rax)
    }
    var vectors = 1
    while vectors < Self.mostVectors {
      let more = asm.label()
      asm.cmp(count, vectors * lanes)
      asm.jump(.above, more)
      emitOrdering(vectors)
      asm.bind(more)
      vectors *= 2
    }
    emitOrdering(vectors)
  }

  /// 1, 2, ... up to half of a vector.
  private var distances: [Int] { (0..<lanes.trailingZeroBitCount).map { 1 << $0 } }

  /// Of more than half as many vectors as there are: the first half of them is full.
  private mutating func emitOrdering(_ vectors: Int) {
    let isThere: UInt8 = 7
    let full = vectors / 2
    if full > 0 { asm.sub(count, full * lanes) }
    asm.mov(.rax, -1)
    asm.bzhi(.rax, .rax, count)
    func place(_ base: GPR, _ v: Int) -> RegisterOrMemory { .memory(Memory(base, 64 * v)) }
    func findKeys(_ v: Int) {
      asm.mov(.r8, .rax)
      if v > full { asm.shr(.r8, UInt8((v - full) * lanes)) }
      mask(isThere, .r8)
    }
    var network = SortNetwork(
      isWide: isWide, keys: (0..<vectors).map(UInt8.init),
      spare: (0..<vectors).map { UInt8(vectors + $0) },
      mirrored: (0..<vectors).map { UInt8(2 * vectors + $0) })
    for v in 0..<vectors {
      let key = network.keys[v]
      if v < full {
        asm.vector(load, .z, key, place(from, v))
      } else {
        findKeys(v)
        asm.vector(.pternlogd, .z, key, key, key, immediate: 0xFF)
        asm.vector(load, .z, key, place(from, v), mask: isThere)
      }
    }
    network.emit(&asm)
    for v in 0..<vectors {
      if v < full {
        asm.vector(store, .z, network.keys[v], place(to, v))
      } else {
        findKeys(v)
        asm.vector(store, .z, network.keys[v], place(to, v), mask: isThere)
      }
    }
    asm.vzeroupper()
    asm.ret()
  }
}

/// Emits the comparisons that put the keys of some vectors in order. The mask registers from 1 on have the lanes
/// whose places are odd multiples of 1, 2, ... lanes.
private struct SortNetwork {
  let isWide: Bool
  /// The registers of the keys, in whose order these are in the end.
  var keys: [UInt8]
  var spare: [UInt8]
  let mirrored: [UInt8]

  private var lanes: Int { isWide ? 8 : 16 }
  private var least: VectorOp { isWide ? .pminuq : .pminud }
  private var greatest: VectorOp { isWide ? .pmaxuq : .pmaxud }

  mutating func emit(_ asm: inout Assembler) {
    let all = Array(keys.indices)
    var length = 2
    while length <= lanes {
      compare(all, with: length - 1, half: length / 2, &asm)
      clean(all, below: length / 2, &asm)
      length *= 2
    }
    var width = 1
    while width < keys.count {
      for start in stride(from: 0, to: keys.count, by: 2 * width) { merge(start, width, &asm) }
      width *= 2
    }
  }

  /// Compares within vectors lanes `i` and `i ^ pattern`; the one with the bit `half` takes the greater key.
  private mutating func compare(
    _ vectors: [Int], with pattern: Int, half: Int, _ asm: inout Assembler
  ) {
    let mask = UInt8(half.trailingZeroBitCount + 1)
    for v in vectors { exchange(mirrored[v], keys[v], pattern, &asm) }
    for v in vectors { asm.vector(least, .z, spare[v], keys[v], mirrored[v]) }
    for v in vectors { asm.vector(greatest, .z, spare[v], keys[v], mirrored[v], mask: mask) }
    for v in vectors { swap(&keys[v], &spare[v]) }
  }

  /// Compares within vectors at half of a distance, and so on down to neighbours.
  private mutating func clean(_ vectors: [Int], below distance: Int, _ asm: inout Assembler) {
    var distance = distance / 2
    while distance > 0 {
      compare(vectors, with: distance, half: distance, &asm)
      distance /= 2
    }
  }

  /// Merges twice `width` vectors from one on, of which each half is in order.
  private mutating func merge(_ start: Int, _ width: Int, _ asm: inout Assembler) {
    for i in 0..<width { exchange(mirrored[i], keys[start + 2 * width - 1 - i], lanes - 1, &asm) }
    for i in 0..<width { asm.vector(least, .z, spare[i], keys[start + i], mirrored[i]) }
    // The greater half from its end on, which falls and then rises or the other way round as well.
    for i in 0..<width {
      asm.vector(greatest, .z, keys[start + width + i], keys[start + i], mirrored[i])
    }
    for i in 0..<width { swap(&keys[start + i], &spare[i]) }
    var distance = width / 2
    while distance > 0 {
      for first in start..<start + 2 * width where (first - start) & distance == 0 {
        asm.vector(least, .z, spare[0], keys[first], keys[first + distance])
        asm.vector(greatest, .z, keys[first + distance], keys[first], keys[first + distance])
        swap(&keys[first], &spare[0])
      }
      distance /= 2
    }
    clean(Array(start..<start + 2 * width), below: lanes, &asm)
  }

  /// `to[i] = from[i ^ pattern]`.
  private func exchange(_ to: UInt8, _ from: UInt8, _ pattern: Int, _ asm: inout Assembler) {
    // Lanes of 4 bytes are picked by their numbers in 16 bytes, these by theirs in the vector.
    func numbers(_ pattern: Int) -> UInt8 {
      (0..<4).reduce(0) { $0 | UInt8($1 ^ pattern) << UInt8(2 * $1) }
    }
    let perPart = isWide ? 2 : 4
    let (inside, part) = (pattern % perPart, pattern / perPart)
    var from = from
    if inside != 0 {
      asm.vector(
        .permilps, .z, to, .register(from), immediate: numbers(isWide ? 2 * inside : inside))
      from = to
    }
    if part != 0 { asm.vector(.shuff32x4, .z, to, from, from, immediate: numbers(part)) }
  }
}
