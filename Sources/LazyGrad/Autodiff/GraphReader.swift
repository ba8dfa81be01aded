// Reads the graph behind tensors off their tape.

internal import LazyGradJIT

/// A walk over the records that tensors lead to, which changes none of them.
struct GraphReader {
  private var names: [SlotRef: String] = [:]

  init(_ names: [String: Tensor]) {
    for (name, tensor) in names.sorted(by: { $0.key < $1.key }) {
      self.names[tensor.slot, default: ""] += self.names[tensor.slot] == nil ? name : ", " + name
    }
  }

  /// Where a node's value can be asked for.
  private enum Place {
    /// The program's handle, or one that was made for this walk; and for a view what it is a view of.
    case handle(SlotRef, base: View?)
    case number(Double)
    /// An update in place has taken its memory over.
    case nowhere
  }

  /// A part of another node's value.
  private struct View {
    let base: Int
    let layout: LayoutID
    let offset: Int
  }

  func graph(of tensors: [Tensor], statistics: Bool) -> ComputationGraph {
    // Everything that takes part comes onto one tape before that is locked.
    let tape = Tape.hold(all: tensors.map(\.slot))
    var lent: [SlotRef] = []
    let (nodes, places, targets) = tape.withSettled {
      let ids = reached(tensors, tape)
      return read(ids, tensors, tape, lend: statistics ? { lent.append($0) } : nil)
    }
    if !statistics { return ComputationGraph(nodes: nodes, targets: targets) }
    defer { for slot in lent { Tape.release(slot) } }
    let handles = places.compactMap { if case .handle(let slot, _) = $0 { slot } else { nil } }
    do throws(StorageError) {
      try Engine.force(handles)
      try Engine.force(handles.compactMap { $0.pointee.gradient })
    } catch {
      report(error, in: "computationGraph")
      return ComputationGraph(nodes: nodes, targets: targets)
    }
    return ComputationGraph(
      nodes: zip(nodes, places).map { node, place in
        let (values, gradients) = self.statistics(of: place, places)
        return ComputationGraph.Node(
          operation: node.operation, name: node.name, shape: node.shape, dtype: node.dtype,
          isConstant: node.isConstant, operands: node.operands, values: values,
          gradients: gradients)
      }, targets: targets)
  }

  // MARK: Which records

  /// The record that one from a later window stands for.
  private func origin(_ id: UInt32, _ tape: Tape) -> UInt32 {
    var id = id
    while let source = tape.importedNode(id) { id = source }
    return id
  }

  /// The records that were used to compute one, in the order of the operands; of an alias, what it was a
  /// function of, and not what gives its value.
  private func operands(_ id: UInt32, _ tape: Tape) -> [UInt32] {
    guard tape.hasOperands(id), !tape[id].state.contains(.cleared) else { return [] }
    switch tape[id].opcode {
    case .attach:
      // A custom operation of several operands is a chain of aliases, the last operand's on top.
      var operands = [origin(tape.a(id), tape)]
      if Composite.of(tape[id]) !== Composite.custom { return operands }
      var alias = id
      for _ in 0..<Composite.extra(tape[id]) {
        alias = origin(tape.b(alias), tape)
        operands.append(origin(tape.a(alias), tape))
      }
      return operands.reversed()
    case .view:
      // Where there is a way for gradients, that says what the view was made of.
      let route = tape.b(id)
      return [origin(tape.a(route == id || tape[route].opcode != .view ? id : route), tape)]
    default:
      return [tape.a(id), tape.b(id), tape.c(id)].filter { $0 != id }.map { origin($0, tape) }
    }
  }

  /// Everything that tensors lead to, operands first.
  private func reached(_ tensors: [Tensor], _ tape: Tape) -> [UInt32] {
    var work = tensors.compactMap { $0.slot.node.map { origin($0, tape) } }
    var seen = Set(work)
    while let id = work.popLast() {
      for operand in operands(id, tape) where seen.insert(operand).inserted {
        work.append(operand)
      }
    }
    return seen.sorted()
  }
}

// MARK: - What the records say

extension GraphReader {
  /// The nodes of some records, where their values are, and the places of the tensors that were asked for.
  ///
  /// - Parameter lend: Takes the handles that are made for records without one; nil: none are made.
  private func read(
    _ ids: [UInt32], _ tensors: [Tensor], _ tape: Tape, lend: ((SlotRef) -> Void)?
  ) -> (nodes: [ComputationGraph.Node], places: [Place], targets: [Int]) {
    var nodes: [ComputationGraph.Node] = []
    var places: [Place] = []
    var positions: [UInt32: Int] = [:]
    var leaves: [SlotRef: Int] = [:]
    var lost: Set<UInt32> = []
    let heads = Set(tensors.compactMap { $0.slot.node.map { origin($0, tape) } })
    for id in ids {
      let record = tape[id]
      if record.opcode == .scalar, !heads.contains(id) { continue }
      if record.opcode == .leaf, let slot = record.slot {
        // A tensor may have been used in several windows.
        if let known = leaves[slot] {
          positions[id] = known
          continue
        }
        leaves[slot] = nodes.count
      }
      positions[id] = nodes.count
      let sources = operands(id, tape)
      var list: [ComputationGraph.Operand] = sources.map { source in
        tape[source].opcode == .scalar
          ? .number(number(tape[source])) : .node(positions[source].unsafelyUnwrapped)
      }
      if record.opcode == .scalar { list = [.number(number(record))] }
      nodes.append(
        ComputationGraph.Node(
          operation: operation(id, sources.first, tape), name: record.slot.flatMap { names[$0] },
          shape: LayoutTable.shared[record.shape].dims, dtype: DType(record.type),
          isConstant: !record.traits.contains(.variable), operands: list))
      guard let lend else { continue }
      if isLost(id, sources, lost, tape) {
        lost.insert(id)
        places.append(.nowhere)
      } else if record.opcode == .scalar {
        places.append(.number(number(record)))
      } else if let slot = record.slot {
        places.append(.handle(slot, base: base(of: id, sources.first, positions, tape)))
      } else {
        let slot = tape.makeSlot(id)
        lend(slot)
        places.append(.handle(slot, base: nil))
      }
    }
    let targets = tensors.map { tensor -> Int in
      let slot = tensor.slot
      if let id = slot.node { return positions[origin(id, tape)].unsafelyUnwrapped }
      if let known = leaves[slot] { return known }
      // In memory, and no operation of the graph has read it.
      leaves[slot] = nodes.count
      nodes.append(
        ComputationGraph.Node(
          operation: "input", name: names[slot], shape: tensor.shape, dtype: tensor.dtype,
          isConstant: tensor.isConstant))
      places.append(.handle(slot, base: nil))
      return nodes.count - 1
    }
    return (nodes, places, targets)
  }

  /// Whether a value is neither in memory nor can be computed again: an update in place has its memory.
  private func isLost(
    _ id: UInt32, _ sources: [UInt32], _ lost: Set<UInt32>, _ tape: Tape
  ) -> Bool {
    let memory = tape[id].opcode == .view ? tape.a(id) : id
    if tape[memory].storage != nil { return false }
    return tape[id].opcode == .leaf || sources.contains { lost.contains($0) }
  }

  private func number(_ record: Node) -> Double {
    record.type.isFloating
      ? Double(bitPattern: record.numberBits) : Double(Int64(bitPattern: record.numberBits))
  }

  /// The name of a record's operation.
  private func operation(_ id: UInt32, _ source: UInt32?, _ tape: Tape) -> String {
    let record = tape[id]
    guard let source else {
      return record.opcode == .leaf ? "input" : record.opcode == .scalar ? "full" : name(id, tape)
    }
    if record.opcode == .copy, tape[source].opcode == .scalar { return "full" }
    guard record.opcode == .view else { return name(id, tape) }
    let route = tape.b(id) == id ? record : tape[tape.b(id)]
    let layout = LayoutTable.shared[route.layout]
    let dims = LayoutTable.shared[tape[source].shape].dims
    if zip(layout.dims, layout.strides).contains(where: { $0 > 1 && $1 == 0 }) {
      return "broadcast"
    }
    if layout.count != dims.reduce(1, *) { return "slice" }
    if layout.isContiguous { return "reshape" }
    let lengths = layout.dims.filter { $0 > 1 }.sorted()
    let isTurned =
      layout.strides.allSatisfy { $0 >= 0 } && lengths == dims.filter { $0 > 1 }.sorted()
    return isTurned ? "transpose" : "view"
  }

  private func name(_ id: UInt32, _ tape: Tape) -> String {
    let record = tape[id]
    if let routine = record.routine { return "\(routine)" }
    guard record.opcode == .attach else { return record.opcode.info.name }
    return Composite.of(record).name
  }

  // MARK: Statistics

  /// Where the gradient of a view is: in that of its base, with the layout and the place of its first
  /// element. Nil for what is no view, and where the base does not lie in C order.
  private func base(
    of id: UInt32, _ source: UInt32?, _ positions: [UInt32: Int], _ tape: Tape
  ) -> View? {
    guard let source, tape[id].opcode == .view, let place = positions[source] else { return nil }
    let route = tape.b(id) == id ? id : tape.b(id)
    if tape.b(id) == id, tape[source].layout != tape[source].shape { return nil }
    return View(base: place, layout: tape[route].layout, offset: tape[route].regionStart)
  }

  private func statistics(
    of place: Place, _ places: [Place]
  ) -> (values: ComputationGraph.Statistics?, gradients: ComputationGraph.Statistics?) {
    switch place {
    case .number(let number): return (.init([number]), nil)
    case .nowhere: return (nil, nil)
    case .handle(let slot, let view):
      return (.init(elements(of: slot)), gradient(of: slot, view, places).flatMap { .init($0) })
    }
  }

  private func gradient(of slot: SlotRef, _ view: View?, _ places: [Place]) -> [Double]? {
    if slot.isView {
      guard let view, case .handle(let base, let outer) = places[view.base],
        let elements = gradient(of: base, outer, places)
      else { return nil }
      let whole = NDArray(elements)
      return NDArray(
        storage: whole.storage, layout: view.layout, offset: view.offset, dtype: .float64
      ).elements(as: Double.self)
    }
    if slot.hasUnitGradient {
      return [Double](repeating: 1, count: LayoutTable.shared[slot.pointee.shape].count)
    }
    return slot.pointee.gradient.map { elements(of: $0) }
  }

  /// The elements of a handle's value in C order, read where they are.
  private func elements(of slot: SlotRef) -> [Double] {
    let tape = Tape.hold(slot)
    defer { tape.unlock() }
    let storage: Unmanaged<Storage>
    let layout: LayoutID
    let offset: Int
    if let id = slot.node {
      (storage, layout, offset) = tape.location(of: id)
    } else if let held = slot.pointee.storage {
      (storage, layout, offset) = (held, slot.pointee.layout, slot.pointee.offset)
    } else {
      return []
    }
    return NDArray(
      storage: storage.takeUnretainedValue(), layout: layout, offset: offset,
      dtype: DType(slot.pointee.type)
    ).elements(as: Double.self)
  }
}
