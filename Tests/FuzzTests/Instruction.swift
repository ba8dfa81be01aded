// What random tensor programs are made of. A program is plain data, so it can be run again in other
// ways, shortened, and kept in a file.

/// One line of a program. What it makes is named by its `id`, which later lines refer to.
struct Instruction: Codable {
  enum Kind: Codable {
    case leaf(dims: [Int], values: [Double], isVariable: Bool)
    /// A tensor over a host array's own memory; the line's name stands for both.
    case hostLeaf(dims: [Int], values: [Double], isVariable: Bool, isWriteable: Bool)
    /// The same over an array whose elements don't lie in memory in C order.
    case stridedLeaf(dims: [Int], values: [Double], Strides, isVariable: Bool)
    case full(dims: [Int], value: Double)
    /// A leaf of the floating type that the program is not about.
    case otherLeaf(dims: [Int], values: [Double], isVariable: Bool)
    case unary(Unary, Int)
    case binary(Binary, Int, Int)
    case scalar(Binary, Int, Double, scalarFirst: Bool)
    /// A composite of two operands with a rule of its own.
    case composite(Int, Int)
    /// Where the first is greater than a number: from the second, else from the third.
    case select(Int, Double, Int, Int)
    case sum(Int, axis: Int?, keepDims: Bool)
    case prod(Int, axis: Int?, keepDims: Bool)
    case mean(Int, axis: Int?, keepDims: Bool)
    case max(Int, axis: Int?, keepDims: Bool)
    case matmul(Int, Int)
    case softmax(Int, logarithm: Bool)
    case concatenate(Int, Int)
    case takeRows(Int, [Int])
    /// Through integers of a type: `3 x + 250`, plus 7 in the first row, and back to floats.
    case integers(Int, IntegerType)
    /// Through the other floating type, where the tensor then stays.
    case otherType(Int)
    /// A copy without a graph.
    case detached(Int)
    case reshaped(Int, [Int])
    case transposed(Int)
    case sliced(Int, low: Int, high: Int)
    case reversed(Int)
    case broadcast(Int, [Int])
    case update(Binary, Int, Int)
    case updateScalar(Binary, Int, Double)
    /// `x[low..<high] = y`, broadcast.
    case setRows(Int, low: Int, high: Int, Int)
    /// `x[[...]] = y`; of equal rows the last counts.
    case setIndexed(Int, [Int], Int)
    /// `x[[...]] += c`; equal rows count once.
    case addIndexed(Int, [Int], Double)
    /// The tensor's array is taken, which the line's name then stands for.
    case handOut(Int)
    /// Rows of a host array change, or the guard refuses.
    case hostWrite(Int, Writer, low: Int, high: Int, values: [Double])
    /// Whether a host array can be written.
    case ask(Int)
    case drop(Int)
    case eval([Int])
    case read(Int)
    /// The gradient of a tensor, if it has one.
    case gradient(Int)
    case backward(Int, retainsGraph: Bool, accumulates: Bool)
    /// The gradient of the first with respect to the second.
    case gradients(Int, by: Int)
    case clearGraph(Int)
    /// Something that can't be carried out, inside `catchingTensorErrors`.
    case failing(Failure, Int)
  }

  let id: Int
  let kind: Kind
  let isTracking: Bool
  let isGuarding: Bool
}

/// The ways to write a host array. All but the last throw where the guard refuses; the last ends the
/// program, so it is used only where it must not.
enum Writer: String, CaseIterable, Codable, CustomStringConvertible {
  var description: String { rawValue }

  case assign, fill, elements, throughTransposed, throughReversed, subscripted
}

/// How the elements of a host array lie in memory.
enum Strides: String, CaseIterable, Codable, CustomStringConvertible {
  var description: String { rawValue }

  case transposed, reversed, everyOther, lastReversed
  /// All rows are one, so that the array is read-only; the values are those of the first.
  case repeated
}

/// Types that values go through.
enum IntegerType: String, CaseIterable, Codable, CustomStringConvertible {
  var description: String { rawValue }

  case int64, int32, uint8
}

/// Calls that are refused, on a tensor of any shape.
enum Failure: String, CaseIterable, Codable, CustomStringConvertible {
  var description: String { rawValue }

  case operation, update, index, setter, seed, poisonedUpdate, thrown
}

/// What a line gave when a program read something.
struct Reading {
  let line: Int
  let values: [Double]
  /// For a tensor's value: its type.
  var precision: Precision?
}
