// The recorded graph behind tensors as a value. GraphReader.swift reads it off the tape; what pictures are made
// of it is in the folder Visualization.

/// What led to some tensors, as a value: every operation and every tensor that it began with.
///
///     let x = Tensor([1.0, 2, 3])
///     let w = Tensor([0.5, 0.5, 0.5])
///     let loss = square(tanh(x * w)).sum()
///     let graph = loss.computationGraph(naming: ["x": x, "w": w, "loss": loss])
///     print(graph)                       // one line for each node
///     print(graph.dot)                   // for Graphviz
///     let picture = graph.svg            // complete in itself: write it to a file and open that
///
/// A graph knows nothing of the tensors that it was made of: it keeps none of them alive, and stays as it
/// is whatever becomes of them.
public struct ComputationGraph: Sendable, Equatable {
  /// What an operation was applied to.
  public enum Operand: Sendable, Equatable {
    /// The value of another node of the graph, by its place in `nodes`.
    case node(Int)
    /// A number that the program wrote, such as the 2 of `x * 2`.
    case number(Double)
  }

  /// One operation and its result, or a tensor that the graph begins with.
  public struct Node: Sendable, Equatable {
    /// The name of the operation: `add`, `matmul`, `tanh`. A tensor that the graph begins with is an
    /// `input`, also where it was computed and the way to it is not recorded any more; `full` is one
    /// number in a whole array; a view is called `reshape`, `transpose`, `broadcast` or `slice` by what
    /// it shows.
    public let operation: String
    /// The name that the program gave to the tensor.
    public let name: String?
    /// The shape of the result.
    public let shape: [Int]
    /// The type of its elements.
    public let dtype: DType
    /// Whether it is a constant, so that no gradients flow through it.
    public let isConstant: Bool
    /// What the operation was applied to, in the order of its operands.
    public let operands: [Operand]
    /// The result in three numbers; nil where statistics were not asked for.
    public let values: Statistics?
    /// The gradient in three numbers; nil where they were not asked for, and where there is none.
    public let gradients: Statistics?

    /// A node of a graph that a program makes itself.
    public init(
      operation: String, name: String? = nil, shape: [Int], dtype: DType, isConstant: Bool,
      operands: [Operand] = [], values: Statistics? = nil, gradients: Statistics? = nil
    ) {
      self.operation = operation
      self.name = name
      self.shape = shape
      self.dtype = dtype
      self.isConstant = isConstant
      self.operands = operands
      self.values = values
      self.gradients = gradients
    }

    /// The places of the nodes that it was computed from, in the order of the operands.
    public var sources: [Int] {
      operands.compactMap { if case .node(let place) = $0 { place } else { nil } }
    }
  }

  /// The elements of an array in a few numbers.
  public struct Statistics: Sendable, Equatable {
    /// The least of the elements that are numbers.
    public let minimum: Double
    /// The greatest of them.
    public let maximum: Double
    /// Their mean.
    public let mean: Double
    /// How many are none: not-a-number.
    public let notANumberCount: Int

    /// The statistics of some elements; nil where there are none.
    public init?(_ elements: [Double]) {
      if elements.isEmpty { return nil }
      var (least, greatest, sum, count) = (Double.infinity, -Double.infinity, 0.0, 0)
      for element in elements where !element.isNaN {
        least = min(least, element)
        greatest = max(greatest, element)
        sum += element
        count += 1
      }
      minimum = count == 0 ? .nan : least
      maximum = count == 0 ? .nan : greatest
      mean = sum / Double(count)
      notANumberCount = elements.count - count
    }
  }

  /// The nodes, each after those that it was computed from.
  public let nodes: [Node]
  /// The places of the tensors that the graph was made for.
  public let targets: [Int]

  /// A graph that a program makes itself, to have it drawn.
  ///
  /// - Parameters:
  ///   - nodes: Each after those that are its operands.
  ///   - targets: The places of those that are marked as results.
  public init(nodes: [Node], targets: [Int]) {
    precondition(
      nodes.enumerated().allSatisfy { place, node in node.sources.allSatisfy { 0..<place ~= $0 } }
        && targets.allSatisfy(nodes.indices.contains),
      "LazyGrad: computationGraph: expected nodes each after its operands, and places of nodes")
    self.nodes = nodes
    self.targets = targets
  }
}

extension Tensor {
  /// What led to this tensor and is still recorded.
  ///
  /// Nothing is changed: no value is computed unless statistics are asked for, no gradient ends, and no
  /// array is locked. Recorded are the operations of a graph that can be differentiated, until a backward
  /// pass or `clearGraph()` ends it; so ask before `backward()`, or keep the graph with
  /// `retainGraph: true`. Of what was done inside `noAutodiff`, only what has not been computed yet is.
  ///
  /// - Parameters:
  ///   - names: Names for tensors in the graph, which the pictures show.
  ///   - statistics: Whether nodes say the least, the greatest and the mean of their values, and of
  ///     their gradients where a backward pass has left any. To do so everything in the graph is
  ///     computed, and kept as long as the graph.
  /// - Complexity: O(the graph); forces evaluation with `statistics` only.
  public func computationGraph(
    naming names: [String: Tensor] = [:], statistics: Bool = false
  ) -> ComputationGraph {
    LazyGrad.computationGraph(of: [self], naming: names, statistics: statistics)
  }
}

/// What led to several tensors and is still recorded, as one graph: what they share is there once.
///
/// As ``Tensor/computationGraph(naming:statistics:)`` in everything else.
public func computationGraph(
  of tensors: [Tensor], naming names: [String: Tensor] = [:], statistics: Bool = false
) -> ComputationGraph {
  for tensor in tensors where tensor.isPoisonedRead() {
    return ComputationGraph(nodes: [], targets: [])
  }
  if tensors.isEmpty { return ComputationGraph(nodes: [], targets: []) }
  return GraphReader(names).graph(of: tensors, statistics: statistics)
}
