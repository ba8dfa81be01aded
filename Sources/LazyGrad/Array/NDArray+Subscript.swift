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
  /// Stops the program for an index out of range, too many indices, and shapes that don't fit; inside
  /// `catchingTensorErrors` nothing is written then, and the scope throws the error.
  ///
  /// - Complexity: O(`rank`) for a view; index arrays cost O(number of elements selected), and a
  ///   mask O(its size) in addition.
  public subscript(_ index: any TensorIndex...) -> NDArray {
    get {
      Self.made(dtype) { () throws(TensorError) in
        switch try resolve(index) {
        case .view(let selected):
          return view(dims: selected.dims, strides: selected.strides, offset: selected.offset)
        case .gather(let selected):
          return try elements(at: selected.positions(), shape: selected.dims)
        }
      }
    }
    set { setElements(index, newValue) }
  }

  /// Sets a part to one number: `n[0] = 3.0`, `n[mask] = 0`.
  ///
  /// As assigning an array with that number; a whole number that integers of the array's type can't hold
  /// is an error. To read a number, take the part's `item()`.
  // Of any type, as for tensors.
  @_disfavoredOverload  // `n[0]` is an array wherever it can be one
  public subscript(_ index: any TensorIndex...) -> any TensorScalar {
    @available(*, unavailable, message: "a part of an array is an array; read one with `n[i].item()`")
    get { Self.placeholder(dtype).item() }
    set {
      if let message = newValue.weak.misfit(dtype) {
        report(TensorError(operation: "subscript", message: message))
      } else {
        setElements(index, NDArray(newValue))
      }
    }
  }

  /// Not Swift: an index list takes `.ellipsis`.
  @available(*, unavailable, message: "write `.ellipsis` for `...`; one whole axis is `.all`")
  public subscript(_ whole: UnboundedRange, _ others: any TensorIndex...) -> NDArray {
    get { self }
    set { setElements([IndexComponent.ellipsis], newValue) }
  }

  /// Not Swift: an index list takes `.ellipsis`.
  @available(*, unavailable, message: "write `.ellipsis` for `...`; one whole axis is `.all`")
  public subscript(
    _ first: any TensorIndex, _ whole: UnboundedRange, _ others: any TensorIndex...
  ) -> NDArray {
    get { self }
    set { setElements([first, IndexComponent.ellipsis], newValue) }
  }

  private func setElements(_ index: [any TensorIndex], _ newValue: NDArray) {
    do {
      try newValue.checkIsMade()
      switch try resolve(index) {
      case .view(let selected):
        let target = view(
          dims: selected.dims, strides: selected.strides, offset: selected.offset)
        let source = try assignable(newValue, to: selected.dims, operation: "subscript")
        try prepareForWriting()
        try target.overwrite(with: source)
      case .gather(let selected):
        let source = try assignable(newValue, to: selected.dims, operation: "subscript")
          .broadcast(to: selected.dims).converted(to: dtype, operation: "subscript")
        let places = try selected.positions()
        try prepareForWriting()
        store(source, at: places)
      }
    } catch let error as TensorError {
      report(error)
    } catch {
      stop("subscript", "\(error)")
    }
  }

  private func resolve(_ index: [any TensorIndex]) throws(TensorError) -> IndexResolution {
    try IndexResolution.resolve(
      index.map(\.indexComponent), dims: shape, strides: strides, offset: offset)
  }

  /// A copy of the elements at places of the storage.
  private func elements(at places: [Int], shape: [Int]) throws(TensorError) -> NDArray {
    let result = try NDArray(uninitialized: shape, dtype: dtype, operation: "subscript")
    gather(places, to: result)
    return result
  }

  /// Writes the elements at places of the storage to an array of as many in C order.
  func gather(_ places: [Int], to result: NDArray) {
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
