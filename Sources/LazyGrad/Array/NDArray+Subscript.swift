// Indexing host arrays. Uses IndexResolution; writes pass `prepareForWriting`.

internal import LazyGradJIT

extension NDArray {
  /// The part of the array that an index list selects.
  ///
  /// Integers, ranges and new axes give a view; index arrays (integers or Booleans) give a copy.
  /// Indexing with all axes given as integers is a view of rank 0, whose value is `item()`.
  ///
  /// Assigning broadcasts and converts as `assign(_:)` does; where an index array names an element
  /// several times, the last value stays. The setter cannot throw, so an array that is read-only or
  /// locked by the memory guard stops the program, with the text of the `MemoryGuardError`.
  ///
  /// Stops the program for an index out of range, too many indices, and shapes that don't fit.
  ///
  /// - Complexity: O(`rank`) for a view; index arrays cost O(number of elements selected), and a
  ///   mask O(its size) in addition.
  public subscript(_ index: any TensorIndex...) -> NDArray {
    get {
      switch resolve(index) {
      case .view(let selected):
        return view(dims: selected.dims, strides: selected.strides, offset: selected.offset)
      case .gather(let selected):
        return elements(at: selected.positions(), shape: selected.dims)
      }
    }
    set {
      do {
        switch resolve(index) {
        case .view(let selected):
          let target = view(
            dims: selected.dims, strides: selected.strides, offset: selected.offset)
          let source = assignable(newValue, to: selected.dims, operation: "subscript")
          try prepareForWriting()
          target.overwrite(with: source)
        case .gather(let selected):
          let source = assignable(newValue, to: selected.dims, operation: "subscript")
            .broadcast(to: selected.dims).astype(dtype)
          try prepareForWriting()
          store(source, at: selected.positions())
        }
      } catch {
        stop("subscript", "\(error)")
      }
    }
  }

  private func resolve(_ index: [any TensorIndex]) -> IndexResolution {
    do throws(TensorError) {
      return try IndexResolution.resolve(
        index.map(\.indexComponent), dims: shape, strides: strides, offset: offset)
    } catch {
      stop(error.operation, error.message)
    }
  }

  /// A copy of the elements at places of the storage.
  func elements(at places: [Int], shape: [Int]) -> NDArray {
    let result = NDArray(uninitialized: shape, dtype: dtype, operation: "subscript")
    func move<Bits>(_: Bits.Type) {
      let source = storage.pointer.assumingMemoryBound(to: Bits.self)
      let target = result.pointer.assumingMemoryBound(to: Bits.self)
      for i in places.indices { target[i] = source[places[i]] }
    }
    switch dtype.size {
    case 1: move(UInt8.self)
    case 4: move(UInt32.self)
    default: move(UInt64.self)
    }
    return result
  }

  /// Stores contiguous elements at places of the storage.
  private func store(_ elements: NDArray, at places: [Int]) {
    func move<Bits>(_: Bits.Type) {
      let source = elements.pointer.assumingMemoryBound(to: Bits.self)
      let target = storage.pointer.assumingMemoryBound(to: Bits.self)
      for i in places.indices { target[places[i]] = source[i] }
    }
    switch dtype.size {
    case 1: move(UInt8.self)
    case 4: move(UInt32.self)
    default: move(UInt64.self)
    }
  }
}
