// What an evaluation would do, as a value. How it is written down is in the folder Visualization.

internal import LazyGradJIT

/// The work that reading tensors would cause: loops, what is fused in each, memory, and what it costs.
///
///     let x = Tensor.ones([1000, 32])
///     print(softmax(x * 2, axis: 1).explain())
///
/// Printed it is a table. To test that an expression is one loop, or to find what is not fused, ask for
/// the parts: `kernels.count`, `bytesRead`.
public struct Explanation: Sendable, Equatable {
  /// One pass over memory: a loop that does all of the operations that were fused in it, a product of
  /// matrices with what follows it, or a move of elements.
  public struct Kernel: Sendable, Equatable {
    /// What a kernel is.
    public enum Kind: String, Sendable {
      /// Operations element by element, and reductions.
      case loop
      /// A product of matrices, or a sum of some, and what is done to its elements.
      case product
      /// Elements are moved, or a routine works on whole matrices.
      case move
    }

    /// What runs a kernel.
    public enum Code: String, Sendable {
      /// Machine code that was made for it.
      case native
      /// The loops that LazyGrad was compiled with.
      case portable
      /// Machine code, and portable loops for what it does not cover.
      case mixed
    }

    /// What it is.
    public let kind: Kind
    /// What was fused, in the order in which it is computed. A reduction says what it goes over:
    /// `sum of rows` gives a number for every row of the loop.
    public let operations: [String]
    /// Of a loop its rows and columns, 1 column where all elements are one row after the other; of a
    /// product the number of products, their rows and columns; of a move the number of elements.
    public let shape: [Int]
    /// Of a product the length of the summed axis, for each product that is added up; empty for others.
    public let depths: [Int]
    /// How often it runs: once, or once in every turn of a loop that was found in the program, with other memory each
    /// time. Kernels of a loop stand once, one after the other, with the same number.
    public let turns: Int
    /// The names of the memory that is read and written: as in `buffers`, and `tmp0`, `tmp1` and so on
    /// for what lives only as long as the evaluation. Of a loop those of its first turn.
    public let memoryRead: [String]
    /// See `memoryRead`.
    public let memoryWritten: [String]
    /// Bytes that are read from arrays, each counted once, and bytes that are written: by all turns.
    public let bytesRead: Int
    /// See `bytesRead`.
    public let bytesWritten: Int
    /// Arithmetic operations on numbers. An elementary function counts as one, a comparison as none.
    public let flops: Double
    /// What runs it.
    public let code: Code
  }

  /// An array that is there before the evaluation or afterwards.
  public struct Buffer: Sendable, Equatable {
    /// What an array is for.
    public enum Role: String, Sendable {
      /// It is read.
      case input
      /// It was asked for.
      case result
      /// It is computed on the way, and kept: the program holds a tensor of it, or a gradient will need it.
      case kept
    }

    /// `in0`, `in1` and so on for what is read, `out0` and so on for what is there afterwards.
    public let name: String
    /// What it is for.
    public let role: Role
    /// The shape of the array.
    public let shape: [Int]
    /// The type of its elements.
    public let dtype: DType
    /// For a result: the input whose memory it takes, if nothing else needs that any more.
    public let replaces: String?

    /// The bytes of its elements.
    public var byteCount: Int { shape.reduce(1, *) * dtype.size }
  }

  /// The kernels, in the order in which they run.
  public let kernels: [Kernel]
  /// The inputs, then the results.
  public let buffers: [Buffer]
  /// Recorded operations that are computed.
  public let operationCount: Int
  /// Whether this work has been planned before; else the plan is new. It is kept either way.
  public let isPlanKnown: Bool
  /// Bytes of memory for values between kernels.
  public let temporaryBytes: Int
  /// Bytes in which a thread works.
  public let scratchBytes: Int
  /// Threads that take part.
  public let threads: Int
  /// The instruction set of native code: `avx2`, `avx512`, `neon`; or `portable`.
  public let instructionSet: String

  /// Bytes that all kernels read.
  public var bytesRead: Int { kernels.reduce(0) { $0 + $1.bytesRead } }
  /// Bytes that all kernels write.
  public var bytesWritten: Int { kernels.reduce(0) { $0 + $1.bytesWritten } }
  /// Arithmetic operations of all kernels.
  public var flops: Double { kernels.reduce(0) { $0 + $1.flops } }

  init(_ reports: [PlanReport]) {
    var kernels: [Kernel] = []
    var (inputBuffers, resultBuffers): ([Buffer], [Buffer]) = ([], [])
    var (inputs, results, temporaries) = (0, 0, 0)
    for report in reports {
      // Tensors that were recorded on several threads have a plan on each.
      let (firstInput, firstResult, firstTemporary) = (inputs, results, temporaries)
      func name(_ memory: PlanReport.Memory) -> String {
        switch memory {
        case .input(let k): "in\(firstInput + k)"
        case .result(let k): "out\(firstResult + k)"
        case .temporary(let k): "tmp\(firstTemporary + k)"
        }
      }
      for (k, value) in report.inputs.enumerated() {
        inputBuffers.append(
          Buffer(
            name: name(.input(k)), role: .input, shape: value.shape, dtype: DType(value.type),
            replaces: nil))
      }
      for (k, value) in report.results.enumerated() {
        resultBuffers.append(
          Buffer(
            name: name(.result(k)), role: value.isAskedFor ? .result : .kept, shape: value.shape,
            dtype: DType(value.type),
            replaces: value.replaces.map { name(.input($0)) }))
      }
      for kernel in report.kernels {
        for case .temporary(let k) in kernel.reads + kernel.writes {
          temporaries = max(temporaries, firstTemporary + k + 1)
        }
        kernels.append(Kernel(kernel, name))
      }
      inputs += report.inputs.count
      results += report.results.count
    }
    self.kernels = kernels
    self.buffers = inputBuffers + resultBuffers
    operationCount = reports.reduce(0) { $0 + $1.operationCount }
    isPlanKnown = reports.allSatisfy(\.isKnown)
    temporaryBytes = reports.reduce(0) { $0 + $1.temporaryBytes }
    scratchBytes = reports.map(\.scratchBytes).max() ?? 0
    threads = reports.map(\.threads).max() ?? 1
    instructionSet = NativeCode.instructionSet.name
  }
}

extension Explanation.Kernel {
  fileprivate init(_ kernel: PlanReport.Kernel, _ name: (PlanReport.Memory) -> String) {
    kind =
      switch kernel.kind {
      case .loop: .loop
      case .product: .product
      case .move: .move
      }
    code =
      switch kernel.code {
      case .native: .native
      case .portable: .portable
      case .mixed: .mixed
      }
    operations = kernel.operations
    shape = kind == .product ? Array(kernel.shape[..<3]) : kernel.shape
    depths = kind == .product ? Array(kernel.shape[3...]) : []
    turns = kernel.turns
    memoryRead = kernel.reads.map(name)
    memoryWritten = kernel.writes.map(name)
    bytesRead = kernel.bytesRead
    bytesWritten = kernel.bytesWritten
    flops = kernel.flops
  }
}

extension Tensor {
  /// What computing this tensor would do, without doing it: the loops, what is fused in each, memory,
  /// bytes and arithmetic operations. Nothing, where the value is there already.
  ///
  /// - Complexity: plans, and keeps the plan for the evaluation; runs nothing.
  public func explain() -> Explanation { LazyGrad.explain([self]) }
}

/// What computing several tensors together would do, as `eval` does.
public func explain(_ tensors: Tensor...) -> Explanation { explain(tensors) }

/// What computing several tensors together would do, as `eval` does.
public func explain(_ tensors: [Tensor]) -> Explanation {
  for tensor in tensors { _ = tensor.isPoisonedRead() }
  return Explanation(Engine.report(tensors.map(\.slot)))
}
