// The recorded graph as a value: what stands in it, and that nothing changes when it is asked for.

import Foundation
import LazyGrad
import Testing

@Suite("Computation graph")
struct ComputationGraphTests {
  @Test("Operations, operands in order, names, shapes, types, numbers")
  func nodes() {
    let x = Tensor([[1.0, 2, 3], [4, 5, 6]])
    let w = Tensor([1.0, 2, 3], dtype: .float32, constant: true)
    let y = 2 - x * w
    let graph = y.computationGraph(naming: ["x": x, "w": w, "y": y])
    // The float32 operand is cast before it is multiplied.
    #expect(graph.nodes.map(\.operation) == ["input", "input", "cast", "multiply", "subtract"])
    #expect(graph.nodes.map(\.name) == ["x", "w", nil, nil, "y"])
    #expect(
      graph.nodes.map(\.operands) == [
        [], [], [.node(1)], [.node(0), .node(2)], [.number(2), .node(3)],
      ])
    #expect(graph.nodes.map(\.shape) == [[2, 3], [3], [3], [2, 3], [2, 3]])
    #expect(graph.nodes.map(\.dtype) == [.float64, .float32, .float64, .float64, .float64])
    #expect(graph.nodes.map(\.isConstant) == [false, true, true, false, false])
    #expect(graph.targets == [4])
    #expect(graph.nodes.allSatisfy { $0.values == nil && $0.gradients == nil })
  }

  @Test("What is shared is there once, also for several tensors")
  func shared() {
    let x = Tensor([1.0, 2])
    let h = tanh(x)
    let graph = computationGraph(of: [h * h, h.sum(), x])
    #expect(graph.nodes.map(\.operation) == ["input", "tanh", "multiply", "sum"])
    #expect(graph.nodes[2].sources == [1, 1])
    #expect(graph.targets == [2, 3, 0])
    #expect(computationGraph(of: []).nodes.isEmpty)
    // A tensor of which nothing is recorded, and one that no operation has used.
    #expect(Tensor([1.0]).computationGraph().nodes.map(\.operation) == ["input"])
    #expect(computationGraph(of: [h, Tensor([1.0, 2])]).targets == [1, 2])
  }

  @Test("Views say what they show; filled arrays, which number")
  func views() {
    let x = Tensor.ones([3, 4])
    func last(_ y: Tensor) -> String { y.computationGraph().nodes.last!.operation }
    #expect(last(x.reshaped(4, 3)) == "reshape")
    #expect(last(x.transposed()) == "transpose")
    #expect(last(x[1...]) == "slice")
    #expect(last(x.broadcast(to: [2, 3, 4])) == "broadcast")
    #expect(
      x.computationGraph().nodes == [
        ComputationGraph.Node(
          operation: "full", shape: [3, 4], dtype: .float64, isConstant: false,
          operands: [.number(1)])
      ])
  }

  @Test("A composite is one node, a custom operation has all of its operands in order")
  func composites() {
    let x = Tensor([1.0, 2, 3])
    #expect(softmax(x).computationGraph().nodes.map(\.operation) == ["input", "softmax"])
    let (a, b, c) = (Tensor([1.0]), Tensor([2.0]), Tensor([3.0]))
    let y = Tensor.composite(inputs: [a, b, c]) {
      $0[0] - $0[1] * $0[2]
    } gradient: { g, t, _ in
      [g, -g * t[2], -g * t[1]]
    }
    let graph = y.computationGraph(naming: ["a": a, "b": b, "c": c])
    #expect(graph.nodes.map(\.operation) == ["input", "input", "input", "custom"])
    #expect(graph.nodes[3].sources.map { graph.nodes[$0].name } == ["a", "b", "c"])
    let m = Tensor([[2.0, 0], [0, 2]])
    #expect(cholesky(m).computationGraph().nodes.contains { $0.operation == "cholesky" })
  }

  @Test(
    "Names: of views and results, several for one tensor, none for what it was before an update")
  func names() {
    let w = Tensor([1.0, 2])
    let y = w * 3
    w[0] = 5.0
    let z = w + y
    let graph = z.computationGraph(naming: ["w": w, "also w": w])
    let named = graph.nodes.filter { $0.name != nil }
    #expect(named.count == 1 && named[0].name == "also w, w")
    #expect(named[0].operation != "input")
    #expect(graph.nodes.filter { $0.operation == "input" && $0.name == nil }.count >= 1)
  }

  @Test("Nothing is computed, no gradient ends, no array is locked")
  func changesNothing() throws {
    let array = NDArray([1.0, 2, 3])
    let x = Tensor(array, copy: false)
    (x * x).sum().backward()
    let y = noAutodiff { exp(x) }
    #expect(y.computationGraph(naming: ["x": x]).nodes.map(\.operation) == ["input", "exp"])
    #expect(x.computationGraph().nodes.count == 1)
    #expect(y.debugDescription.contains("recorded"))
    #expect(x.grad?.elements(as: Double.self) == [2, 4, 6])
    #expect(array.isWriteable)
    try array.fill(0)
    for (value, x) in zip(y.elements(as: Double.self), [1.0, 2, 3]) {
      #expect(abs(value / Foundation.exp(x) - 1) < 1e-15)
    }
  }

  @Test("Statistics of all values, and of the gradients that there are")
  func statistics() throws {
    let x = Tensor([1.0, -2, 3])
    let part = x[1...]
    let y = x * 2
    let loss = (y.sum() + part.sum()) * 1
    loss.backward(retainGraph: true)
    let graph = loss.computationGraph(
      naming: ["x": x, "part": part, "y": y, "loss": loss], statistics: true)
    func node(_ name: String) throws -> ComputationGraph.Node {
      try #require(graph.nodes.first { $0.name == name })
    }
    #expect(graph.nodes.allSatisfy { $0.values != nil })
    let values = try #require(try node("x").values)
    #expect(values.minimum == -2 && values.maximum == 3 && abs(values.mean - 2.0 / 3) < 1e-15)
    #expect(try node("y").values == .init([2, -4, 6]))
    #expect(try node("loss").values == .init([5]))
    #expect(try node("loss").gradients == .init([1]))
    #expect(try node("y").gradients == .init([1, 1, 1]))
    #expect(try node("x").gradients == .init([2, 3, 3]))
    #expect(try node("part").gradients == .init([3, 3]))
    #expect(x.gradient.elements(as: Double.self) == [2, 3, 3])
    // The graph is still there.
    loss.backward()
    #expect(x.gradient.elements(as: Double.self) == [2, 3, 3])
  }

  @Test("Statistics of what was read in between, of not-a-numbers and of arrays without elements")
  func unusualStatistics() {
    let x = Tensor([0.0, 1, -1])
    let y = log(x)
    let z = y.sum()
    _ = z.item()
    let graph = (z * Tensor.zeros([0]).sum()).computationGraph(naming: ["y": y], statistics: true)
    let logarithm = graph.nodes.first { $0.name == "y" }!.values!
    #expect(logarithm.notANumberCount == 1)
    #expect(logarithm.minimum == -.infinity && logarithm.maximum == 0)
    #expect(graph.nodes.contains { $0.shape == [0] && $0.values == nil })
    #expect(ComputationGraph.Statistics([.nan])!.mean.isNaN)
  }

  @Test("What updates in place have taken the memory of has no statistics")
  func takenOver() {
    let x = Tensor(NDArray.ones([1000]))
    for k in 0..<3 {
      x[k] = Tensor(5.0)
      x.eval()
    }
    let graph = (x * 2).computationGraph(naming: ["x": x], statistics: true)
    let named = graph.nodes.first { $0.name == "x" }
    #expect(named?.values?.mean == 1.012)
    #expect(graph.nodes.last?.values?.mean == 2.024)
  }

  @Test("A graph that a backward pass has ended is recorded no more, whether it has run or not")
  func cleared() {
    let x = Tensor([1.0, 2])
    let y = exp(x)
    let loss = y.sum()
    loss.backward()
    #expect(loss.computationGraph().nodes.map(\.operation) == ["sum"])
    loss.eval()
    #expect(loss.computationGraph().nodes.count == 1)
  }

  @Test(
    "Long chains and windows: nothing recurses, and a tensor that is used in all of them is one node"
  )
  func long() throws {
    let result = try onSmallStack {
      let w = Tensor([1.0])
      var h = Tensor([0.5])
      for step in 0..<50_000 {
        h = h * w
        if step % 20_000 == 10_000 { h.eval() }
      }
      let graph = h.computationGraph(naming: ["w": w])
      return (graph.nodes.count, graph.nodes.filter { $0.name == "w" }.count, graph.dot.utf8.count)
    }
    #expect(result.0 == 50_002 && result.1 == 1 && result.2 > 1_000_000)
  }

  @Test("A poisoned tensor has no graph")
  func poisoned() {
    #expect(throws: TensorError.self) {
      try catchingTensorErrors {
        let x = Tensor([1.0, 2]) + Tensor([1.0, 2, 3])
        #expect(x.computationGraph().nodes.isEmpty)
      }
    }
  }
}

/// Runs `body` on a thread with a stack of 512 KiB.
func onSmallStack<R: Sendable>(_ body: @escaping @Sendable () -> R) throws -> R {
  let box = ResultBox<R>()
  let done = DispatchSemaphore(value: 0)
  let thread = Thread {
    box.value = body()
    done.signal()
  }
  thread.stackSize = 512 << 10
  thread.start()
  done.wait()
  return try #require(box.value)
}

private final class ResultBox<R>: @unchecked Sendable { var value: R? }
