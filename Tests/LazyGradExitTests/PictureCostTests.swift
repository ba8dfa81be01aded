// What pictures and explanations cost, by the process's counters: in processes of their own.

import LazyGrad
import Testing

#if os(Linux) || os(macOS)
  @Suite("Cost of pictures")
  struct PictureCostTests {
    @Test("A graph computes nothing, takes no memory of arrays and keeps no tensor")
    func graph() async {
      await #expect(processExitsWith: .success) {
        let before = LazyGradEngine.counters
        let inUse = LazyGradEngine.bytesInUse
        var graph: ComputationGraph?
        do {
          let x = Tensor(NDArray.ones([1 << 20]))
          let y = exp(x * 2).sum()
          graph = y.computationGraph(naming: ["x": x])
        }
        let after = LazyGradEngine.counters
        precondition(after.planMisses == before.planMisses && after.planHits == before.planHits)
        precondition(after.kernelsRun == before.kernelsRun)
        precondition(LazyGradEngine.bytesInUse == inUse)
        precondition(graph!.nodes.count == 4 && graph!.dot.contains("float64 [1048576]"))
      }
    }

    @Test("Statistics let go of all that they have computed when the graph ends")
    func statistics() async {
      await #expect(processExitsWith: .success) {
        let inUse = LazyGradEngine.bytesInUse
        for isTracking in [true, false] {
          let x = Tensor(NDArray.ones([1000]))
          let y = isTracking ? exp(x * 2).sum() : noAutodiff { exp(x * 2).sum() }
          let graph = y.computationGraph(naming: ["x": x], statistics: true)
          precondition(graph.nodes.allSatisfy { $0.values != nil })
          precondition(isTracking == (graph.nodes.count == y.computationGraph().nodes.count))
        }
        precondition(LazyGradEngine.bytesInUse == inUse, "\(LazyGradEngine.bytesInUse - inUse)")
      }
    }

    @Test("What is explained is what the counters count when it runs, and nothing runs before")
    func explanation() async {
      await #expect(processExitsWith: .success) {
        let a = Tensor(NDArray.ones([64, 48], dtype: .float32))
        let b = Tensor(NDArray.ones([48, 32], dtype: .float32))
        for make in [
          { tanh(matmul(a, b) + 1) }, { softmax(a, axis: 1).sum(axis: 0) },
          { concatenate(a, a + 1) }, { matmul(exp(a), b).sum() }, { cholesky(matmul(a.T, a)) },
        ] as [() -> Tensor] {
          let value = make()
          let start = LazyGradEngine.counters
          let plan = value.explain()
          let before = LazyGradEngine.counters
          precondition(before.kernelsRun == start.kernelsRun)
          precondition(before.planHits == start.planHits)
          value.eval()
          let after = LazyGradEngine.counters
          precondition(plan.bytesRead == after.bytesRead - before.bytesRead)
          precondition(plan.bytesWritten == after.bytesWritten - before.bytesWritten)
          precondition(plan.kernels.count == after.kernelsRun - before.kernelsRun)
          precondition(after.planMisses == before.planMisses)
          precondition(after.planHits == before.planHits + 1)
        }
      }
    }
  }
#endif
