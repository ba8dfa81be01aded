// What a loop kernel needs to run as machine code: the code, and where its arguments come from. Made
// in Codegen and read in Execute; here because kernels carry it.

/// The machine code of a loop and how it is called: with a frame in scratch memory that holds the
/// number of elements, then the arguments' addresses.
package final class NativeLoop: @unchecked Sendable {
  package let routine: NativeRoutine
  let arguments: Frozen<Argument>
  /// Registers of the kernel that are in memory for the portable part's sake, and where.
  let registers: Frozen<Placed>
  /// Loads that the portable kernels do before each block.
  let loads: Frozen<Int>
  /// What becomes of each terminal.
  let terminals: Frozen<TerminalKind>
  /// Elements of one row of the code's loop.
  let rowLength: Int
  /// Whether rows of the loop may be split between calls.
  let startsInRows: Bool
  /// The elements of which no call has parts of two, because an argument begins anew after them; 0 for any.
  let groupLength: Int
  /// Whether the work is cut into blocks; else a chunk is one call, or one for each group.
  let isPerBlock: Bool
  /// Bytes for the registers and for the frame behind them.
  let registerBytes: Int
  let frameBytes: Int

  struct Argument: Sendable {
    enum Kind: UInt8, Sendable {
      /// Moves on with the elements, with the kernel's rows, with the code's rows; stays.
      case elements, rows, codeRows, fixed
      /// A register that is in memory.
      case register
      /// A run-time scalar.
      case scalar
      /// The running sums of a reduction to columns; the results of the parts of a whole one.
      case sums, parts
    }
    var kind: Kind
    var place = Place(base: 0, byteOffset: 0)
    /// Bytes from one element or row to the next.
    var step = 0
    /// Of an argument that moves on with the code's rows: after how many it begins anew, and the bytes from one
    /// beginning to the next.
    var groupRows = Int.max
    var groupStep = 0
    /// Of a register, a terminal or a scalar.
    var number = 0

    /// Bytes to the beginning of a row of the code.
    func offset(ofRow row: Int) -> Int {
      let (group, rest) = row.quotientAndRemainder(dividingBy: groupRows)
      return group &* groupStep &+ rest &* step
    }
  }

  struct Placed: Sendable {
    var register: Int
    var offset: Int
  }

  enum TerminalKind: UInt8, Sendable {
    /// From memory, after each block.
    case portable
    /// In the code: sums of columns, results of parts.
    case columns, parts
  }

  init(
    routine: NativeRoutine, arguments: [Argument], registers: [Placed], loads: [Int],
    terminals: [TerminalKind], rowLength: Int, startsInRows: Bool, groupLength: Int,
    isPerBlock: Bool,
    registerBytes: Int, frameBytes: Int
  ) {
    self.routine = routine
    self.arguments = Frozen(arguments)
    self.registers = Frozen(registers)
    self.loads = Frozen(loads)
    self.terminals = Frozen(terminals)
    self.rowLength = rowLength
    self.startsInRows = startsInRows
    self.groupLength = groupLength
    self.isPerBlock = isPerBlock
    self.registerBytes = registerBytes
    self.frameBytes = frameBytes
  }

  deinit {
    arguments.destroy()
    registers.destroy()
    loads.destroy()
    terminals.destroy()
  }

  var byteCount: Int { registerBytes + frameBytes }
}
