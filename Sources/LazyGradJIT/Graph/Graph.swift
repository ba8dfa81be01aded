// A piece of recorded work cut out of a tape: what the planner plans, the executor runs and the
// oracle interprets. Positions are local, so equal programs give equal graphs wherever they stand.

/// One operation of a graph. Operands are positions in the graph, always smaller than its own.
package struct GraphNode: Equatable, Sendable {
  package var opcode: Opcode
  /// The element type of the result.
  package var type: ScalarType
  /// Whether the value must be in memory when the graph has run.
  package var isRoot = false
  /// The shape of the result: a contiguous layout.
  package var shape: LayoutID
  package var a: Int32 = -1
  package var b: Int32 = -1
  package var c: Int32 = -1
  /// By operation: `view`, `setRegion`, `addRegion`: the layout over operand a; reductions: a shape
  /// `[outer, reduced, inner]`; `concat`: the axis; `leaf`: the layout of the memory; `attach`: the
  /// derivative rule; `matrix`: the routine and how it is done.
  package var attribute: UInt32 = 0
  /// `view` of a computed value, `setRegion`, `addRegion`: the offset of the layout in elements;
  /// `setRows`: the elements of a row.
  package var offset: Int = 0
  /// `leaf` and `scalar`: the number of the run-time slot; `setRegion` and `addRegion` in a section of a rolled
  /// plan: that of the run-time number which is the offset, and which stands in the place of that, too; a `view` of a
  /// leaf that is bound as one more leaf has been turned into a `leaf` before it gets here.
  package var slot: Int32 = -1

  package init(
    _ opcode: Opcode, _ type: ScalarType, shape: LayoutID, a: Int = -1, b: Int = -1, c: Int = -1,
    attribute: UInt32 = 0, offset: Int = 0, slot: Int = -1, isRoot: Bool = false
  ) {
    self.opcode = opcode
    self.type = type
    self.shape = shape
    self.a = Int32(truncatingIfNeeded: a)
    self.b = Int32(truncatingIfNeeded: b)
    self.c = Int32(truncatingIfNeeded: c)
    self.attribute = attribute
    self.offset = offset
    self.slot = Int32(truncatingIfNeeded: slot)
    self.isRoot = isRoot
  }
}

/// Work to plan: nodes in topological order, with the number of run-time slots that they name.
package struct Graph: Sendable {
  package var nodes: [GraphNode]
  package var leafCount: Int
  package var scalarCount: Int

  /// A graph that was cut out of no tape, for tests. No sweep would find the layouts that it names, so
  /// from now on the process keeps all of them.
  package init(nodes: [GraphNode], leafCount: Int, scalarCount: Int) {
    LayoutTable.keepAll()
    self.init(cut: nodes, leafCount: leafCount, scalarCount: scalarCount)
  }

  /// A graph that was cut out of a tape, whose lock the caller holds.
  init(cut nodes: [GraphNode], leafCount: Int, scalarCount: Int) {
    self.nodes = nodes
    self.leafCount = leafCount
    self.scalarCount = scalarCount
  }
}
