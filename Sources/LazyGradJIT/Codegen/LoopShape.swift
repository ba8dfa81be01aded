// How a loop kernel becomes a nest for machine code: the length of a row, where every register of the
// kernel is, which phases a row is worked off in. Plain decisions from the kernel's description;
// LoopCompiler emits what is decided here.

/// The decisions.
struct LoopShape {
  /// Where a register of the kernel is for the code.
  enum Role: Equatable {
    case unused
    /// Computed; in a vector register, or in the frame between two phases.
    case computed
    /// In memory: argument, and the index that goes with it.
    case memory(Int, LoopAddress.Index)
    /// The same for all elements: a run-time scalar that an argument points to, or one element of an
    /// argument.
    case scalar(Int)
    case uniform(Int)
    /// One element of an argument for each row.
    case repeated(Int)
  }

  let kernel: LoopKernel
  var roles: [Role] = []
  var arguments: [NativeLoop.Argument] = []
  /// The bytes by which an argument moves on after a row of the code; 0 for most.
  var advances: [Int] = []
  var placed: [NativeLoop.Placed] = []
  var loads: [Int] = []
  var terminals: [NativeLoop.TerminalKind] = []
  /// Per register: the argument that a result is stored to as well.
  var storeArguments: [Int] = []
  var rowLength = LoopShape.flat
  /// The elements after which an argument begins anew; calls end there. 0 for none.
  var groupLength = 0
  var isRowWise = false
  var isPerBlock = false
  var registerBytes = 0

  /// The row length of a loop without rows.
  static let flat = 1 << 40
  /// Rows shorter than this are gathered instead of walked.
  static let shortestRow = 8
  /// Groups shorter than this are gathered instead of called one by one.
  static let shortestGroup = 512

  init?(_ kernel: LoopKernel) {
    self.kernel = kernel
    if kernel.rows == 0 || kernel.columns == 0 { return nil }
    if kernel.code.count == 0, kernel.terminals.count == 0 { return nil }
    for i in 0..<kernel.code.count {
      let instruction = kernel.code[i]
      switch instruction.kind {
      case .tile: if instruction.isPerRow { isRowWise = true }
      case .reduceRows:
        // The planner leaves positions of extremes alone in their loops.
        if instruction.opcode.info.search != nil { return nil }
        if kernel.registers[Int(instruction.dst)].isPerRow { isRowWise = true }
      case .expandRows: isRowWise = true
      case .load: if instruction.isPerRow { isRowWise = true }
      }
    }
    // So are those of long rows.
    for t in 0..<kernel.terminals.count where kernel.terminals[t].search != nil { return nil }
    if isRowWise { rowLength = kernel.columns }
    roles = Array(repeating: .unused, count: kernel.registers.count)
    storeArguments = Array(repeating: -1, count: kernel.registers.count)
    decideTerminals()
    decideLoads()
    decideParts()
    // Nothing but reductions that are not done here.
    if kernel.code.count == 0, !terminals.contains(where: { $0 != .portable }) { return nil }
    placeRegisters()
    placeScalars()
  }

  // MARK: Arguments

  private mutating func add(_ argument: NativeLoop.Argument, advance: Int = 0) -> Int {
    arguments.append(argument)
    advances.append(advance)
    return arguments.count - 1
  }

  // MARK: Terminals

  private mutating func decideTerminals() {
    for t in 0..<kernel.terminals.count {
      let terminal = kernel.terminals[t]
      // Rows of products come in numbers that their own code was made for.
      if terminal.kind == .columns, !terminal.isPerRow, terminal.type.size >= 4,
        !kernel.hasProduct
      {
        terminals.append(.columns)
        // A panel is a call and has no rows of its own.
        if kernel.panelColumns == 0 { rowLength = kernel.columns }
      } else {
        terminals.append(.portable)
      }
    }
  }

  /// Reductions of everything are taken in parts where the loop has no rows of its own.
  private mutating func decideParts() {
    if rowLength != Self.flat || kernel.hasProduct { return }
    if kernel.panelColumns > 0 {
      if terminals.contains(.columns) { return }
    } else if isPerBlock || terminals.indices.contains(where: { keepsBlocks($0) }) {
      return
    }
    var any = false
    for t in 0..<kernel.terminals.count {
      let terminal = kernel.terminals[t]
      if terminal.kind != .columns, terminal.type.size >= 4, !terminal.isPerRow {
        terminals[t] = .parts
        any = true
      }
    }
    if any { rowLength = Summation.blockLength }
  }

  /// Whether a terminal reduces, block by block, what is in scratch memory.
  private func keepsBlocks(_ t: Int) -> Bool {
    let terminal = kernel.terminals[t]
    return (terminal.type.size < 4 || terminal.isPerRow)
      && !kernel.registers[terminal.register].isDirect
  }

  /// Whether a portable terminal reads a register.
  private func isReadAfterwards(_ r: Int) -> Bool {
    terminals.indices.contains {
      terminals[$0] == .portable && kernel.terminals[$0].register == r
    }
  }

  // MARK: Loads

  private mutating func decideLoads() {
    for l in 0..<kernel.loads.count {
      let load = kernel.loads[l]
      switch load.kind {
      case .splat where isReadAfterwards(load.register): preload(l)
      case .splat:
        roles[load.register] = .scalar(-1)
      case .position: preload(l)
      case .gather: decideGather(l)
      }
    }
  }

  private mutating func preload(_ l: Int) {
    loads.append(l)
    isPerBlock = true
  }

  private mutating func decideGather(_ l: Int) {
    let load = kernel.loads[l]
    let register = load.register
    if kernel.registers[register].isPerRow || isReadAfterwards(register) { return preload(l) }
    let hasPanels = kernel.panelColumns > 0
    let axes = Self.axes(load.layout!.takeUnretainedValue())
    if axes.isEmpty || (axes.count == 1 && axes[0].stride == 0) {
      roles[register] = .uniform(add(.init(kind: .fixed, place: load.place)))
      return
    }
    guard !hasPanels, 2...3 ~= axes.count, let row = axes.last, row.stride == 0 || row.stride == 1,
      row.length >= Self.shortestRow || row.length == rowLength,
      rowLength == Self.flat || row.length == rowLength
    else { return preload(l) }
    let rows = axes[axes.count - 2]
    let step = rows.stride * load.elementSize
    var argument = NativeLoop.Argument(kind: .codeRows, place: load.place, step: step)
    if axes.count == 3 {
      let length = Self.commonDivisor(groupLength, rows.length * row.length)
      // What goes on over all rows, a sum or a product, has cuts of its own.
      guard !kernel.hasProduct, kernel.terminals.count == 0, length >= Self.shortestGroup,
        length % kernel.columns == 0
      else { return preload(l) }
      groupLength = length
      argument.groupRows = rows.length
      argument.groupStep = axes[0].stride * load.elementSize
    } else if step == 0 {
      argument.kind = .fixed
    }
    rowLength = row.length
    let number = add(argument, advance: step)
    roles[register] = row.stride == 0 ? .repeated(number) : .memory(number, .column)
  }

  private static func commonDivisor(_ a: Int, _ b: Int) -> Int {
    b == 0 ? a : commonDivisor(b, a % b)
  }

  /// The axes of a layout, with those joined that are walked in one go.
  private static func axes(_ layout: Layout) -> [(length: Int, stride: Int)] {
    var axes: [(length: Int, stride: Int)] = []
    for (length, stride) in zip(layout.dims, layout.strides) where length != 1 {
      if let last = axes.last, last.stride == stride * length {
        axes[axes.count - 1] = (last.length * length, stride)
      } else {
        axes.append((length, stride))
      }
    }
    return axes
  }

  // MARK: Registers

  private mutating func placeRegisters() {
    var needed = Set<Int>()
    for l in loads { needed.insert(kernel.loads[l].register) }
    if kernel.hasProduct { needed.insert(kernel.product.register) }
    for t in terminals.indices where terminals[t] == .portable {
      needed.insert(kernel.terminals[t].register)
    }
    if kernel.hasProduct, !kernel.product.wholeChunk { isPerBlock = true }
    for t in terminals.indices where terminals[t] == .portable {
      if !kernel.registers[kernel.terminals[t].register].isDirect { isPerBlock = true }
    }
    for s in 0..<kernel.stores.count {
      let store = kernel.stores[s]
      if kernel.panelColumns > 0 {
        // Machine code writes no element too many.
        roles[store.register] = .memory(
          add(.init(kind: .elements, place: store.place, step: store.elementSize)), .element)
        continue
      }
      storeArguments[store.register] = add(
        .init(kind: .rows, place: store.place, step: store.elementSize))
    }
    for r in 0..<kernel.registers.count where roles[r] == .unused {
      let register = kernel.registers[r]
      let index: LoopAddress.Index = register.isPerRow ? .row : .element
      if register.isDirect {
        let kind: NativeLoop.Argument.Kind = register.isPerRow ? .rows : .elements
        roles[r] = .memory(
          add(.init(kind: kind, place: register.place, step: register.type.size)), index)
      } else if needed.contains(r) {
        let rows = kernel.product.wholeChunk ? kernel.chunkRows : kernel.blockRows
        let block = kernel.panelColumns > 0 ? Summation.blockLength : rows * kernel.columns
        let count = register.isPerRow ? rows : block
        placed.append(.init(register: r, offset: registerBytes))
        registerBytes += ArenaAllocator.rounded(count * 8) + 64
        roles[r] = .memory(add(.init(kind: .register, number: r)), index)
      } else {
        roles[r] = .computed
      }
    }
    for t in terminals.indices where terminals[t] != .portable {
      terminalArguments.append(
        add(.init(kind: terminals[t] == .columns ? .sums : .parts, number: t)))
    }
  }
  /// Scalars come last: the first arguments have registers, and a scalar is read once. Each has an
  /// argument of its own, so that the code does not depend on which number of the plan it is.
  private mutating func placeScalars() {
    for l in 0..<kernel.loads.count {
      let load = kernel.loads[l]
      guard roles[load.register] == .scalar(-1) else { continue }
      roles[load.register] = .scalar(add(.init(kind: .scalar, number: load.number)))
    }
  }

  /// The arguments of the terminals that are not portable, in order.
  var terminalArguments: [Int] = []

  /// Whether a result of the code goes to this register's memory: a result, not an operand.
  var isStored: [Bool] {
    var stored = Array(repeating: false, count: kernel.registers.count)
    for i in 0..<kernel.code.count where kernel.code[i].kind != .load {
      stored[Int(kernel.code[i].dst)] = true
    }
    return stored
  }
}
