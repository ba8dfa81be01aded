// Finds machine code by what it does: the same kernel of another plan, or of the same one, is the
// same piece of memory. Uses CodeMemory.

/// What a kernel does, as plain data: equal keys mean equal code.
package struct KernelKey: Hashable, Sendable {
  package enum Kind: UInt8, Sendable { case loop, product, packing, outerSum, sort }
  package let kind: Kind
  package let instructionSet: InstructionSet
  package let words: [UInt64]

  package init(_ kind: Kind, _ instructionSet: InstructionSet, _ words: [UInt64]) {
    self.kind = kind
    self.instructionSet = instructionSet
    self.words = words
  }
}

/// The process's machine code by key.
///
/// Entries are weak: plans own their code, and it goes with the last plan that uses it.
package final class KernelCache: Sendable {
  package static let shared = KernelCache()

  private struct Entry {
    weak var block: CodeBlock?
  }
  private struct State {
    var entries: [KernelKey: Entry] = [:]
    /// Entries at which those without code are cleared away.
    var sweepAt = 256
  }
  private let state = Lock(State())

  /// The code of a key: what some plan has already, or `make`'s result, installed now.
  ///
  /// - Returns: nil where `make` has none or the system gives no executable memory; the portable
  ///   kernels do the work then.
  package func routine(for key: KernelKey, make: () -> [UInt8]?) -> NativeRoutine? {
    if let known = state.withLock({ $0.entries[key]?.block }) {
      return NativeRoutine(entry: known.entry, owner: known)
    }
    // Outside of the lock: two tasks may compile the same kernel at once, and each keeps its own.
    guard let bytes = make(), let block = CodeMemory.install(bytes) else { return nil }
    state.withLock { state in
      state.entries[key] = Entry(block: block)
      if state.entries.count > state.sweepAt {
        state.entries = state.entries.filter { $0.value.block != nil }
        state.sweepAt = max(256, 2 * state.entries.count)
      }
    }
    return NativeRoutine(entry: block.entry, owner: block)
  }
}
