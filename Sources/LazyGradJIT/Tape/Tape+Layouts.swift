// What the tapes name of the table of layouts, for the sweep that frees those that nothing names.

extension Tape {
  private static let slotChunks = Lock<[SlotRef]>([])
  static var slotsPerChunk: Int { 256 }

  /// Memory for handles, which no tape gives back.
  static func makeSlotChunk() -> SlotRef {
    let chunk = SlotRef.allocate(capacity: slotsPerChunk)
    // A sweep looks at all of them, in use or not.
    UnsafeMutableRawPointer(chunk).initializeMemory(
      as: UInt8.self, repeating: 0, count: slotsPerChunk * MemoryLayout<Slot>.stride)
    slotChunks.withLock { $0.append(chunk) }
    return chunk
  }

  /// Frees the layouts that nothing names, unless a tape is in use: somebody inside it, or a plan or a pass
  /// that goes on later. Never waits for one, so who has a tape may call this.
  ///
  /// - Complexity: O(records, handles and layouts).
  static func freeUnnamedLayouts(of tapes: [Tape]) -> Bool {
    var held = 0
    defer { for tape in tapes[..<held] { tape.unlock() } }
    for tape in tapes {
      guard tape.tryLock() else { return false }
      held += 1
      if tape.state.pointee.inFlight != 0 { return false }
    }
    LayoutTable.shared.freeUnnamed { marks in
      for tape in tapes {
        // Dead records as well: a window that repeats an earlier one is compared with them.
        for id in 0..<Int(tape.state.pointee.count) {
          marks.mark(tape.nodes[id].shape)
          marks.mark(tape.nodes[id].attributeBits)
        }
        tape.state.pointee.views.removeAll()
        tape.state.pointee.memos.removeAll()
      }
      slotChunks.withLock { chunks in
        for chunk in chunks {
          for i in 0..<slotsPerChunk {
            marks.mark(chunk[i].layout)
            marks.mark(chunk[i].shape)
            marks.mark(chunk[i].view)
          }
        }
      }
    }
    return true
  }
}
