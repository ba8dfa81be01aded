// Emits the steps of sorting by parts, for AVX-512. Uses the assembler and SortNetwork.

struct SortGenerator {
  private var asm = Assembler()
  private let order: ElementOrder
  private let from = GPR.rsi
  private let to = GPR.rdx
  private let end = GPR.r8
  private let count = GPR.rcx

  private var lanes: Int { order.lanes }
  private var size: UInt8 { UInt8(order.size) }
  private var load: VectorOp { order.load }
  private var store: VectorOp { order.store }

  /// How many vectors `partingInPlace` reads at a time.
  private static let blockVectors = 8
  static let blockBytes = blockVectors * 64

  /// The numbers of vectors that there is code for to put them in order: at most as many as there are registers
  /// for, and as many again to work in. Each is of the kind that a network can be made of.
  private static func vectorCounts(isShort: Bool) -> [Int] {
    isShort ? [1, 2, 3, 4] : [1, 2, 3, 4, 6, 8, 12, 16]
  }

  /// The most elements that are put in order.
  static func mostOrdered(_ order: ElementOrder, isShort: Bool) -> Int {
    vectorCounts(isShort: isShort).last! * order.lanes
  }

  static func parting(_ order: ElementOrder, orEqual: Bool) -> [UInt8] {
    var generator = SortGenerator(order)
    generator.emitParting(orEqual)
    return generator.asm.finish()
  }

  static func partingInPlace(_ order: ElementOrder, orEqual: Bool) -> [UInt8] {
    var generator = SortGenerator(order)
    generator.emitPartingInPlace(orEqual)
    return generator.asm.finish()
  }

  /// - Parameter isShort: Only for some vectors, which takes a tenth of the code.
  static func ordering(_ order: ElementOrder, isShort: Bool) -> [UInt8] {
    var generator = SortGenerator(order)
    generator.emitOrdering(Self.vectorCounts(isShort: isShort))
    return generator.asm.finish()
  }

  private init(_ order: ElementOrder) { self.order = order }

  private func argument(_ path: PartialKeyPath<SortSteps.Arguments>) -> Memory {
    Memory(.rdi, MemoryLayout<SortSteps.Arguments>.offset(of: path)!)
  }

  private mutating func mask(_ mask: UInt8, _ bits: GPR) {
    asm.vector(.kmovwFromGPR, .x, mask, .register(bits.rawValue))
  }

  private mutating func bits(_ register: GPR, _ mask: UInt8) {
    asm.vector(.kmovwToGPR, .x, register.rawValue, .register(mask))
  }

  // MARK: Parting

  private let pivot: UInt8 = 0
  private let isBefore: UInt8 = 1
  private let isRest: UInt8 = 2
  private let isStored: UInt8 = 3
  private let isThere: UInt8 = 4
  /// How many elements of a vector come before the pivot.
  private let before = GPR.r10
  private let ones = GPR.r11

  private mutating func startParting() {
    asm.mov(from, argument(\.from))
    asm.mov(to, argument(\.to))
    asm.mov(end, argument(\.end))
    asm.mov(count, argument(\.count))
    asm.mov(.rax, argument(\.pivot))
    asm.vector(order.isWide ? .pbroadcastq : .pbroadcastd, .z, pivot, .memory(Memory(.rax)))
    asm.mov(ones, -1)
  }

  private mutating func endParting() {
    asm.mov(argument(\.to), to)
    asm.mov(argument(\.from), from)
    asm.mov(argument(\.end), end)
    asm.vzeroupper()
    asm.ret()
  }

  /// The elements of a vector that are in a mask, one beside the other.
  private mutating func compress(_ result: UInt8, _ elements: UInt8, _ mask: UInt8) {
    asm.vector(
      order.isWide ? .pcompressq : .pcompressd, .z, elements, .register(result), mask: mask,
      zeroing: true)
  }

  /// A vector of elements becomes two, which are stored where the gap between the parts begins and ends. The gap has
  /// room for the vector, so that the whole first one may be stored: what it has too much of is written again.
  private mutating func part(_ vector: UInt8, _ kept: UInt8, _ rest: UInt8, _ orEqual: Bool) {
    order.comesBefore(isBefore, vector, pivot, orEqual: orEqual, lanes: 0, &asm)
    bits(.rax, isBefore)
    compress(kept, vector, isBefore)
    asm.vector(.knotw, .x, isRest, .register(isBefore))
    compress(rest, vector, isRest)
    asm.popcnt(before, .rax)
    asm.vector(store, .z, kept, .memory(Memory(to)))
    asm.lea(to, Memory(to, index: before, scale: size))
    asm.mov(.rax, lanes)
    asm.sub(.rax, before)
    asm.sub(before, lanes)
    asm.lea(end, Memory(end, index: before, scale: size))
    asm.bzhi(.rax, ones, .rax)
    mask(isStored, .rax)
    asm.vector(store, .z, rest, .memory(Memory(end)), mask: isStored)
  }

  private mutating func emitParting(_ orEqual: Bool) {
    let vectors = GPR.r9
    let (vector, kept, rest): (UInt8, UInt8, UInt8) = (1, 5, 6)
    startParting()
    asm.mov(vectors, count)
    asm.shr(vectors, UInt8(lanes.trailingZeroBitCount))
    let (one, tail, done) = (asm.label(), asm.label(), asm.label())
    for step in [4, 1] {
      let more = step == 1 ? tail : one
      asm.sub(vectors, step)
      asm.jump(.below, more)
      asm.align16()
      let loop = asm.here()
      for v in 0..<step {
        asm.vector(load, .z, vector + UInt8(v), .memory(Memory(from, 64 * v)))
      }
      for v in 0..<step { part(vector + UInt8(v), kept, rest, orEqual) }
      asm.add(from, 64 * step)
      asm.sub(vectors, step)
      asm.jump(.aboveOrEqual, loop)
      asm.bind(more)
      asm.add(vectors, step)
    }

    asm.arithmetic(.and, count, lanes - 1)
    asm.jump(.equal, done)
    asm.bzhi(.rax, ones, count)
    mask(isThere, .rax)
    asm.vector(load, .z, vector, .memory(Memory(from)), mask: isThere, zeroing: true)
    order.comesBefore(isBefore, vector, pivot, orEqual: orEqual, lanes: isThere, &asm)
    asm.vector(.kandnw, .x, isRest, isBefore, .register(isThere))
    // What is left of the gap takes both.
    for (result, chosen) in [(kept, isBefore), (rest, isRest)] {
      compress(result, vector, chosen)
      bits(.rax, chosen)
      asm.popcnt(before, .rax)
      asm.bzhi(.rax, ones, before)
      mask(isStored, .rax)
      asm.vector(store, .z, result, .memory(Memory(to)), mask: isStored)
      if chosen == isBefore { asm.lea(to, Memory(to, index: before, scale: size)) }
    }
    asm.bind(done)
    endParting()
  }

  /// Blocks of elements are read from the side whose gap is the smaller one, so that both have room for a block.
  private mutating func emitPartingInPlace(_ orEqual: Bool) {
    let rightEnd = GPR.r9
    let block = Self.blockVectors
    let (kept, rest) = (UInt8(1 + block), UInt8(2 + block))
    startParting()
    asm.lea(rightEnd, Memory(end, -Self.blockBytes))
    asm.align16()
    let (loop, right, work) = (asm.here(), asm.label(), asm.label())
    asm.mov(.rax, from)
    asm.sub(.rax, to)
    asm.mov(before, end)
    asm.sub(before, rightEnd)
    asm.cmp(.rax, before)
    asm.jump(.above, right)
    for v in 0..<block {
      asm.vector(load, .z, UInt8(1 + v), .memory(Memory(from, 64 * v)))
    }
    asm.add(from, Self.blockBytes)
    asm.jump(work)
    asm.bind(right)
    asm.sub(rightEnd, Self.blockBytes)
    for v in 0..<block {
      asm.vector(load, .z, UInt8(1 + v), .memory(Memory(rightEnd, 64 * v)))
    }
    asm.bind(work)
    for v in 0..<block { part(UInt8(1 + v), kept, rest, orEqual) }
    asm.sub(count, 1)
    asm.jump(.notEqual, loop)
    endParting()
  }

  // MARK: Ordering

  /// Elements are put in order by a network of comparisons, as many vectors at once as there are elements for; the
  /// last ones are filled up with what comes after all others.
  private mutating func emitOrdering(_ vectorCounts: [Int]) {
    asm.mov(from, argument(\.from))
    asm.mov(to, argument(\.to))
    asm.mov(count, argument(\.count))
    for (place, distance) in SortNetwork.distances(order).enumerated() {
      let upper = (0..<lanes).reduce(0) { $1 & distance == 0 ? $0 : $0 | 1 << $1 }
      asm.mov(.rax, upper)
      mask(UInt8(place + 1), .rax)
    }
    var full = 0
    for vectors in vectorCounts {
      let more = asm.label()
      if vectors < vectorCounts.last! {
        asm.cmp(count, vectors * lanes)
        asm.jump(.above, more)
      }
      emitOrdering(vectors, full: full)
      asm.bind(more)
      full = vectors
    }
  }

  private mutating func emitOrdering(_ vectors: Int, full: Int) {
    let isThere: UInt8 = 7
    // A bit for every element that is not in the full vectors; there are at most 64.
    if full > 0 { asm.sub(count, full * lanes) }
    asm.mov(.rax, -1)
    asm.bzhi(.rax, .rax, count)
    func place(_ base: GPR, _ v: Int) -> RegisterOrMemory { .memory(Memory(base, 64 * v)) }
    func findElements(_ v: Int) {
      asm.mov(.r8, .rax)
      if v > full { asm.shr(.r8, UInt8((v - full) * lanes)) }
      mask(isThere, .r8)
    }
    var network = SortNetwork(order, vectors: vectors)
    for v in 0..<vectors {
      let register = network.elements[v]
      if v < full {
        asm.vector(load, .z, register, place(from, v))
      } else {
        findElements(v)
        let last = asm.constant([[UInt8]](repeating: order.last, count: lanes).flatMap { $0 })
        asm.vector(load, .z, register, .memory(last))
        asm.vector(load, .z, register, place(from, v), mask: isThere)
      }
    }
    network.emit(&asm)
    for v in 0..<vectors {
      if v < full {
        asm.vector(store, .z, network.elements[v], place(to, v))
      } else {
        findElements(v)
        asm.vector(store, .z, network.elements[v], place(to, v), mask: isThere)
      }
    }
    asm.vzeroupper()
    asm.ret()
  }
}
