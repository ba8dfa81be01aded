// What happens where the engine finds that a tensor was used by two threads at once. Uses nothing else
// of the engine.

extension Tape {
  /// Ends the program where a handle or a record has lost what it must have. Its own code never lets that
  /// happen: another thread has used the tensor, or something that was made of it, meanwhile.
  @inline(never)
  package static func confinementIsBroken(_ what: String) -> Never {
    fatalError(
      "LazyGrad: a tensor was used by two threads at once (\(what) while it was in use): tensors"
        + " belong to one task at a time; hand them over, or send a TensorSnapshot")
  }
}

extension Unmanaged<Storage>? {
  /// The memory of a value that is being read.
  @inline(__always)
  package var stillThere: Unmanaged<Storage> {
    guard let self else { Tape.confinementIsBroken("its value was dropped or replaced") }
    return self
  }
}
