// Runs kernels that move elements. Uses Plan and Kernels.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension MoveKernel {
  /// - Parameter work: Memory of `workBytes`.
  @inline(__always)
  static func run(_ move: UnsafePointer<MoveKernel>, _ context: RunContext, _ work: WorkMemory) {
    if move.pointee.kind != .copy { return move.pointee.run(context, work) }
    // Where it is: as a value it would hold references to its lists, and to take and to give up these takes
    // longer than to copy a matrix of 16 x 16.
    read(
      move.pointee.aLayout, move.pointee.type.size, context.address(move.pointee.a),
      context.address(move.pointee.destination))
  }

  @inline(never)
  private func run(_ context: RunContext, _ work: WorkMemory) {
    var work = work
    let size = type.size
    let to = context.address(destination)
    let from = kind == .numbers ? to : context.address(a)
    switch kind {
    case .copy: Self.read(aLayout, size, from, to)
    case .gatherRows:
      let indices = contiguous(bLayout!, 8, context.address(b), &work)
      let isValid = Strided.gatherRows(
        elementSize: size, from: contiguous(aLayout, size, from, &work), rowCount: rowCount,
        width: width, indices: indices.assumingMemoryBound(to: Int64.self),
        count: bLayout!._withUnsafeGuaranteedRef { $0.count }, to: to)
      if !isValid { fatalError("LazyGrad: row indices changed after they were checked") }
    case .scatterAddRows, .setRows:
      start(to, size, from)
      let rows = contiguous(bLayout!, size, context.address(b), &work)
      let indices = contiguous(cLayout!, 8, context.address(c), &work)
        .assumingMemoryBound(to: Int64.self)
      let indexCount = cLayout!._withUnsafeGuaranteedRef { $0.count }
      let isValid =
        kind == .setRows
        ? Strided.setRows(
          elementSize: size, rows: rows, indices: indices, count: indexCount, width: width, to: to,
          rowCount: rowCount)
        : Strided.scatterAddRows(
          type: type, rows: rows, indices: indices, count: indexCount, width: width, to: to,
          rowCount: rowCount)
      if !isValid { fatalError("LazyGrad: row indices changed after they were checked") }
    case .setRegion, .addRegion:
      let offset = regionNumber < 0 ? regionOffset : Int(context.scalars[Int(regionNumber)])
      startRegion(to, size, from, at: offset)
      let value = contiguous(bLayout!, size, context.address(b), &work)
      region!._withUnsafeGuaranteedRef { layout in
        let target = to + offset * size
        if kind == .setRegion {
          Strided.scatter(elementSize: size, from: value, to: target, layout: layout)
        } else {
          Strided.scatterAdd(type: type, from: value, to: target, layout: layout)
        }
      }
    case .cumsum, .cumprod:
      Scan.run(
        isSum: kind == .cumsum, type: type, runs, from: inOrder(from, to, size), to: to, work)
    case .sort, .argsort:
      let (order, type) = order!
      let elements = contiguous(aLayout, type.size, from, &work)
      if kind == .sort {
        // Machine code compares numbers as such, and would take one for another that are both zero then.
        let code = Engine.flushesDenormals && type.isFloating ? nil : nativeSort?.steps
        Sort.values(
          type, runs, isDescending: order.isDescending, from: elements, to: to, work, code: code)
      } else {
        Sort.places(
          type, runs, isDescending: order.isDescending, isFlat: order.isFlat, from: elements,
          to: to.assumingMemoryBound(to: Int64.self), work)
      }
    case .concat:
      let first = contiguous(aLayout, size, from, &work)
      let second = contiguous(bLayout!, size, context.address(b), &work)
      let (na, nb) = (aBlock * size, bBlock * size)
      for i in 0..<blocks {
        memcpy(to + i * (na + nb), first + i * na, na)
        memcpy(to + i * (na + nb) + na, second + i * nb, nb)
      }
    case .stack:
      let bytes = width * size
      places.withUnsafeBufferPointer { places in
        for (i, place) in places.enumerated() {
          memcpy(to + i * bytes, context.address(place), bytes)
        }
      }
    case .numbers:
      // Tiles are written in whole vectors, which would be over what is behind.
      let one = work.take(byteCount: 8 * size)
      numbers.withUnsafeBufferPointer { numbers in
        for (i, number) in numbers.enumerated() {
          Tile.fill(type, bits: context.scalars[Int(number)], dst: one, count: 1)
          memcpy(to + i * size, one, size)
        }
      }
    case .unstack:
      places.withUnsafeBufferPointer { places in
        for i in stride(from: 0, to: places.count, by: 2) {
          memcpy(context.address(places[i + 1]), context.address(places[i]), width * size)
        }
      }
    case .sumRows:
      let sum = work.take(byteCount: width * size)
      sumRows(to: sum, context)
      memcpy(to, sum, width * size)
    case .matrix:
      let first = contiguous(aLayout, size, from, &work)
      let second = bLayout.map { contiguous($0, size, context.address(b), &work) }
      let third = cLayout.map { contiguous($0, size, context.address(c), &work) }
      call!.run(type: type, a: first, b: second, factors: third, to: to, work, matrixProducts)
    }
  }

  private func sumRows(to sum: UnsafeMutableRawPointer, _ context: RunContext) {
    places.withUnsafeBufferPointer { places in
      switch type {
      case .float32:
        RowSum.run(Float.self, count: places.count, width: width, to: sum) {
          context.address(places[$0])
        }
      case .float64:
        RowSum.run(Double.self, count: places.count, width: width, to: sum) {
          context.address(places[$0])
        }
      default:
        memcpy(sum, context.address(places[0]), width * type.size)
        for place in places.dropFirst() {
          Tile.run(
            .add, type: type, to: type, dst: sum, a: sum, b: context.address(place), c: nil,
            count: width)
        }
      }
    }
  }

  /// Brings operand a into the destination, unless it is there: by the plan, or because this run has
  /// given the result its operand's memory.
  private func start(_ to: UnsafeMutableRawPointer, _ size: Int, _ from: UnsafeMutableRawPointer) {
    if !isInPlace, from != to { Self.read(aLayout, size, from, to) }
  }

  /// The elements of operand a in C order: where they are, or brought into the destination.
  private func inOrder(
    _ from: UnsafeMutableRawPointer, _ to: UnsafeMutableRawPointer, _ size: Int
  ) -> UnsafeRawPointer {
    if aLayout._withUnsafeGuaranteedRef({ $0.isContiguous }) { return UnsafeRawPointer(from) }
    start(to, size, from)
    return UnsafeRawPointer(to)
  }

  /// The same as `start` for an update of a region, without what is overwritten if that is one piece. A region of
  /// no elements may begin behind the last one.
  private func startRegion(
    _ to: UnsafeMutableRawPointer, _ size: Int, _ from: UnsafeMutableRawPointer, at offset: Int
  ) {
    let isPiece =
      kind == .setRegion && aLayout._withUnsafeGuaranteedRef { $0.isContiguous }
      && region!._withUnsafeGuaranteedRef { $0.isContiguous && $0.count > 0 }
    if !isPiece { return start(to, size, from) }
    if isInPlace || from == to { return }
    let before = offset * size
    let after = before + region!._withUnsafeGuaranteedRef { $0.count } * size
    memcpy(to, from, before)
    memcpy(to + after, from + after, count * size - after)
  }

  private static func read(
    _ layout: Unmanaged<Layout>, _ size: Int, _ from: UnsafeMutableRawPointer,
    _ to: UnsafeMutableRawPointer
  ) {
    layout._withUnsafeGuaranteedRef { copy(size, from, $0, to) }
  }

  private static func copy(
    _ size: Int, _ from: UnsafeRawPointer, _ layout: Layout, _ to: UnsafeMutableRawPointer
  ) {
    guard let code = TransposeCode.active(elementSize: size) else {
      Strided.copy(elementSize: size, from: from, layout: layout, to: to)
      return
    }
    Strided.copy(elementSize: size, from: from, layout: layout, to: to) {
      code.run(
        elementSize: size, from: $0, step: $1, to: $2, rowStep: $3, height: $4, width: $5)
    }
  }

  /// The elements in C order, copied where they are not.
  private func contiguous(
    _ layout: Unmanaged<Layout>, _ size: Int, _ from: UnsafeMutableRawPointer,
    _ work: inout WorkMemory
  ) -> UnsafeRawPointer {
    layout._withUnsafeGuaranteedRef { layout in
      if layout.isContiguous { return UnsafeRawPointer(from) }
      let copy = work.take(byteCount: layout.count * size)
      Self.copy(size, from, layout, copy)
      return UnsafeRawPointer(copy)
    }
  }
}
