// Runs kernels that move elements. Uses Plan and Kernels.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension MoveKernel {
  func run(_ context: RunContext) {
    let size = type.size
    let to = context.address(destination)
    let from = context.address(a)
    switch kind {
    case .copy: read(aLayout, size, from, to)
    case .gatherRows:
      withContiguous(bLayout!, 8, context.address(b)) { indices in
        withContiguous(aLayout, size, from) { table in
          let isValid = Strided.gatherRows(
            elementSize: size, from: table, rowCount: rowCount, width: width,
            indices: indices.assumingMemoryBound(to: Int64.self),
            count: bLayout!._withUnsafeGuaranteedRef { $0.count }, to: to)
          if !isValid { fatalError("LazyGrad: row indices changed after they were checked") }
        }
      }
    case .scatterAddRows:
      start(to, size, from)
      withContiguous(bLayout!, size, context.address(b)) { rows in
        withContiguous(cLayout!, 8, context.address(c)) { indices in
          let isValid = Strided.scatterAddRows(
            type: type, rows: rows, indices: indices.assumingMemoryBound(to: Int64.self),
            count: cLayout!._withUnsafeGuaranteedRef { $0.count }, width: width, to: to,
            rowCount: rowCount)
          if !isValid { fatalError("LazyGrad: row indices changed after they were checked") }
        }
      }
    case .setRows:
      start(to, size, from)
      withContiguous(bLayout!, size, context.address(b)) { rows in
        withContiguous(cLayout!, 8, context.address(c)) { indices in
          let isValid = Strided.setRows(
            elementSize: size, rows: rows, indices: indices.assumingMemoryBound(to: Int64.self),
            count: cLayout!._withUnsafeGuaranteedRef { $0.count }, width: width, to: to,
            rowCount: rowCount)
          if !isValid { fatalError("LazyGrad: row indices changed after they were checked") }
        }
      }
    case .setRegion, .addRegion:
      start(to, size, from)
      withContiguous(bLayout!, size, context.address(b)) { value in
        region!._withUnsafeGuaranteedRef { layout in
          let target = to + regionOffset * size
          if kind == .setRegion {
            Strided.scatter(elementSize: size, from: value, to: target, layout: layout)
          } else {
            Strided.scatterAdd(type: type, from: value, to: target, layout: layout)
          }
        }
      }
    case .cumsum, .cumprod:
      start(to, size, from)
      Scan.run(
        isSum: kind == .cumsum, type: type, outer: runs.outer, length: runs.length,
        inner: runs.inner, to)
    case .sort, .argsort:
      let (order, type) = order!
      withContiguous(aLayout, type.size, from) { elements in
        if kind == .sort {
          Sort.values(
            type, outer: runs.outer, length: runs.length, inner: runs.inner,
            isDescending: order.isDescending, from: elements, to: to)
        } else {
          Sort.places(
            type, outer: runs.outer, length: runs.length, inner: runs.inner,
            isDescending: order.isDescending, isFlat: order.isFlat, from: elements,
            to: to.assumingMemoryBound(to: Int64.self))
        }
      }
    case .concat:
      withContiguous(aLayout, size, from) { first in
        withContiguous(bLayout!, size, context.address(b)) { second in
          let (na, nb) = (aBlock * size, bBlock * size)
          for i in 0..<blocks {
            memcpy(to + i * (na + nb), first + i * na, na)
            memcpy(to + i * (na + nb) + na, second + i * nb, nb)
          }
        }
      }
    case .matrix:
      withContiguous(aLayout, size, from) { first in
        guard let bLayout else { return call!.run(type: type, a: first, b: nil, to: to) }
        withContiguous(bLayout, size, context.address(b)) { second in
          call!.run(type: type, a: first, b: second, to: to)
        }
      }
    }
  }

  /// Brings operand a into the destination, unless it is there: by the plan, or because this run has
  /// given the result its operand's memory.
  private func start(_ to: UnsafeMutableRawPointer, _ size: Int, _ from: UnsafeMutableRawPointer) {
    if !isInPlace, from != to { read(aLayout, size, from, to) }
  }

  private func read(
    _ layout: Unmanaged<Layout>, _ size: Int, _ from: UnsafeMutableRawPointer,
    _ to: UnsafeMutableRawPointer
  ) {
    layout._withUnsafeGuaranteedRef { Self.copy(size, from, $0, to) }
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

  /// Runs `body` on the elements in C order, copied where they are not.
  private func withContiguous(
    _ layout: Unmanaged<Layout>, _ size: Int, _ from: UnsafeMutableRawPointer,
    _ body: (UnsafeRawPointer) -> Void
  ) {
    layout._withUnsafeGuaranteedRef { layout in
      if layout.isContiguous {
        body(from)
        return
      }
      let copy = UnsafeMutableRawPointer.allocate(
        byteCount: layout.count * size + StoragePool.slack, alignment: 64)
      defer { copy.deallocate() }
      Self.copy(size, from, layout, copy)
      body(copy)
    }
  }
}
