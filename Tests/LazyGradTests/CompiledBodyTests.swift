// What the body of a compiled function may do besides recording: every call is right all the same, or an error that
// says why it can't be. Others' compilers freeze or lose most of this.

import LazyGrad
import LazyGradJIT
import Synchronization
import Testing

/// Lets a body have what the compiler would refuse, as code of an earlier language mode can.
private final class Smuggled: @unchecked Sendable {
  var tensor: Tensor
  init(_ tensor: Tensor) { self.tensor = tensor }
}

@Suite("Bodies of compiled functions")
struct CompiledBodyTests {
  private func elements(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  // MARK: Recorded every time

  @Test("A body that asks for a value may branch on it")
  func reads() {
    let bodies: [@Sendable (Tensor) -> Bool] = [
      { $0.sum().item() > 0 }, { $0.array.elements(as: Double.self)[0] > 0 },
      { "\($0)".contains("-") == false }, { $0.snapshot == TensorSnapshot(NDArray([1.0, 1])) },
      { x in
        let y = x * 2
        eval(y)
        return y.elements(as: Double.self)[0] > 0
      },
      { $0[$0 .> 0.0].count == 2 },
    ]
    for isPositive in bodies {
      let step = compiled { t in [isPositive(t[0]) ? t[0] * 2 : t[0] - 1] }
      for k in 0..<6 {
        let sign = k % 3 == 2 ? -1.0 : 1
        #expect(elements(step(Tensor([sign, sign]))[0]) == (sign > 0 ? [2, 2] : [-2, -2]))
      }
      #expect(step.calls.pair == [6, 0])
      #expect(step.obstacle!.contains("asks for the value of a tensor"))
    }
  }

  @Test("Index tensors, operations on host arrays and checkpoints ask for values")
  func hiddenReads() {
    let rows = compiled { t in [t[0][t[1]]] }
    let custom = compiled { t in
      [
        Tensor.custom(inputs: [t[0]]) { arrays in
          NDArray(arrays[0].elements(as: Double.self).map { $0 * 3 })
        } backward: { gradient, _, _ in
          [gradient]
        }
      ]
    }
    let part = compiled { t in
      let loss = checkpoint(t[0]) { tanh($0[0]) }.sum()
      loss.backward()
      return [loss, t[0].gradient]
    }
    for k in 0..<4 {
      let x = Tensor([1.0, Double(k), 4])
      #expect(elements(rows(x, Tensor([k % 3, 0]))[0]) == elements(x[[k % 3, 0]]))
      #expect(elements(custom(x)[0]) == elements(x * 3))
      #expect(elements(part(x)[1]) == elements(1 - square(tanh(x))))
    }
    for step in [rows, custom, part] { #expect(step.calls.replayed == 0) }
  }

  @Test("Draws from the default stream are drawn anew, those of a key stay")
  func draws() {
    let noise = compiled { t in [t[0] + Tensor.random([4])] }
    // Two equal draws say nothing of the next.
    let coin = compiled { t in [t[0] + Tensor.bernoulli([1], 0.5)] }
    let layer = compiled { t in [dropout(t[0], 0.5)] }
    var seen: Set<[Double]> = []
    for _ in 0..<6 {
      seen.insert(elements(noise(Tensor(0.0))[0]))
      _ = coin(Tensor(0.0))
      _ = layer(Tensor.ones([8]))
    }
    #expect(seen.count == 6)
    for step in [noise, coin, layer] {
      #expect(step.calls.replayed == 0 && step.obstacle!.contains("default stream"))
    }
    let key = RandomKey(7)
    let fixed = compiled { t in [t[0] + Tensor.random([4], key: key)] }
    for _ in 0..<4 {
      #expect(elements(fixed(Tensor(1.0))[0]) == elements(1 + Tensor.random([4], key: key)))
    }
    #expect(fixed.calls.replayed == 2)
  }

  @Test("A body may ask whether the guard is on")
  func guardSwitch() {
    let step = compiled { t in [t[0] + (isMemoryGuardActive ? 1.0 : 2)] }
    for _ in 0..<3 {
      #expect(memGuardOn { step(Tensor(0.0))[0].item() } == 1)
      #expect(memGuardOff { step(Tensor(0.0))[0].item() } == 2)
    }
    #expect(step.calls.replayed == 0 && step.obstacle!.contains("whether the memory guard is on"))
  }

  @Test("What two calls have recorded differently is recorded every time")
  func differences() {
    let count = Count()
    let steps = [
      compiled { t in [t[0] * Double(count.next())] },
      compiled { t in [count.next() % 2 == 0 ? t[0] * 2 : t[0] + 2] },
      compiled { t in [t[0] + Tensor([Double(count.next()), 0])] },
      compiled { t in [t[0][count.next() % 2]] },
      compiled { t in [Tensor](repeating: t[0] * 2, count: count.next() % 2 + 1) },
    ]
    for step in steps {
      for _ in 0..<5 {
        let x = Tensor([3.0, 5])
        let before = count.value
        let results = step(x)
        #expect(count.value == before + 1 && results[0].count <= 2)
      }
      #expect(step.calls.replayed == 0)
      #expect(step.obstacle!.contains("have recorded different operations"))
    }
    let first = steps[0](Tensor(1.0))[0].item()
    #expect(steps[0](Tensor(1.0))[0].item() == first + 1)
  }

  @Test("A tensor from outside has the value that it has at the call")
  func captures() {
    for make in [
      { Tensor([1.0, 2]).eval() }, { Tensor([1.0, 2]) * 1 }, { Tensor.zeros([2]) },
      { Tensor([[1.0, 2], [3, 4]], constant: true)[1] },
      { () -> Tensor in
        let x = Tensor([1.0, 2])
        x.sum().backward()
        return x
      },
    ] {
      let box = Smuggled(make())
      let step = compiled { t in [t[0] + box.tensor] }
      for k in 0..<6 {
        #expect(elements(step(Tensor(1.0))[0]) == elements(box.tensor + 1))
        switch k {
        case 2: noAutodiff { box.tensor += 10 }
        case 3: box.tensor = Tensor([Double(k), 0])
        case 4: box.tensor = Tensor.full([2], 9.0)
        default: break
        }
      }
      #expect(step.calls.replayed == 0)
      #expect(step.obstacle!.contains("not among its arguments"))
    }
    #expect(Tape.current.brokenInvariant() == nil)
  }

  @Test("An array from outside has the elements that it has at the call")
  func capturedArrays() {
    let sent = Sent(NDArray([1.0, 2]))
    let step = compiled { t in [t[0] + Tensor(sent.array, constant: true, copy: false)] }
    for k in 0..<6 {
      #expect(
        elements(step(Tensor([1.0, 1]))[0]) == sent.array.elements(as: Double.self).map { $0 + 1 })
      if k > 1 { try? memGuardOff { try sent.array.fill(Double(k)) } }
    }
    #expect(step.calls.replayed == 0)
    #expect(step.obstacle!.contains("not among its arguments"))
  }

  /// Where a tensor from outside has few records beside it, these come to the body's, and look like part of it.
  @Test("A tensor from outside that has no memory to be known by")
  func capturedRecords() {
    Tape.renew()
    let box = Smuggled(Tensor.zeros([2]))
    let step = compiled { t in
      var y = t[0]
      for _ in 0..<100 { y = y * 1 }
      return [y + box.tensor]
    }
    for k in 0..<6 {
      #expect(elements(step(Tensor([1.0, 2]))[0]) == elements(box.tensor + Tensor([1.0, 2])))
      if k > 1 { box.tensor = Tensor.full([2], Double(k)) }
    }
    #expect(step.calls.replayed == 0)
    #expect(step.obstacle!.contains("not among its arguments"))
  }

  // MARK: Replayed

  @Test("Arrays that the body makes are its own, whoever gets hold of them later")
  func ownArrays() {
    let kept = Mutex<[Sent]>([])
    let step = compiled { t in
      let array = NDArray([1.0, 2])
      kept.withLock { $0.append(Sent(array)) }
      return [t[0] + Tensor(array, copy: false)]
    }
    for k in 0..<6 {
      #expect(elements(step(Tensor([1.0, 1]))[0]) == [2, 3])
      if k > 0 { kept.withLock { for sent in $0 { try? sent.array.fill(100) } } }
    }
    #expect(step.calls.replayed == 4)
  }

  private struct Sent: @unchecked Sendable {
    let array: NDArray
    init(_ array: NDArray) { self.array = array }
  }

  @Test("Updates in place of the body's own tensors")
  func updates() {
    let step = compiled { t in
      let y = t[0] * 2
      y[1] += t[1][0]
      let top = y[0..<1]
      top *= 10.0
      let z = Tensor.zeros([3])
      z[1..<3] = y
      return [y, z, top]
    }
    for k in 0..<4 {
      let results = step(Tensor([Double(k), 1]), Tensor([5.0]))
      let y = [20 * Double(k), 7]
      #expect(elements(results[0]) == y && elements(results[1]) == [0] + y)
      #expect(elements(results[2]) == [y[0]])
    }
    #expect(step.calls.replayed == 2)
  }

  @Test("Derivatives of functions, batches and other compiled functions inside")
  func transformationsInside() {
    let inner = compiled { t in [t[0] * t[0] * t[1]] }
    let step = compiled { t in
      let (x, v) = (t[0], t[1])
      let slopes = jacobian(at: x) { square($0) * $0.sum() }
      let (value, slope) = jvp(at: x, along: v) { exp($0).sum() }
      let rows = vmap { (row: Tensor) in row * row.sum() }(stack([x, v]))
      let nested = inner(x, v)[0]
      let through = LazyGrad.gradient(of: nested.sum(), withRespectTo: x)
      return [slopes, value, slope, hessian(at: x) { ($0 * $0 * $0).sum() }, rows, nested, through]
    }
    for k in 0..<4 {
      let (x, v) = (Tensor([1.0, Double(k)]), Tensor([0.5, -1]))
      let results = step(x, v)
      #expect(elements(results[0]) == elements(jacobian(at: x) { square($0) * $0.sum() }))
      #expect(results[1].item() == exp(x).sum().item())
      #expect(elements(results[3]) == [6, 0, 0, 6 * Double(k)])
      #expect(elements(results[5]) == elements(x * x * v))
      #expect(elements(results[6]) == elements(2 * x * v))
    }
    #expect(step.calls.replayed == 2)
    #expect(inner.calls.pair == [0, 0])
  }

  @Test("Around it, vmap calls the body, and derivatives are an error")
  func transformationsAround() {
    let step = compiled { t in [t[0] * t[0].sum() + t[1]] }
    let batch = Tensor([[1.0, 2], [3, 4], [5, 6]])
    for _ in 0..<3 {
      let rows = vmap { (x: Tensor) in step(x, Tensor(1.0))[0] }(batch)
      #expect(elements(rows) == elements(batch * batch.sum(axis: 1, keepDims: true) + 1))
    }
    #expect(step.calls.pair == [0, 0])
    let x = Tensor([1.0, 2])
    for _ in 0..<3 {
      for said in [
        message { _ = jacobian(at: x) { step($0, Tensor(1.0))[0] } },
        message { _ = jvp(at: x, along: x) { step($0, Tensor(1.0))[0] } },
        message { _ = hessian(at: x) { step($0, Tensor(1.0))[0].sum() } },
        message { checkpoint(x) { step($0[0], Tensor(1.0))[0] * 2 }.sum().backward() },
      ] {
        #expect(said.contains("don't go through a compiled function"), "\(said)")
      }
    }
    #expect(elements(noAutodiff { step(x, Tensor(1.0))[0] }) == [4, 7])
  }

  @Test("A body longer than a window is one piece")
  func longBody() {
    let body: @Sendable ([Tensor]) -> [Tensor] = { t in
      var h = t[0]
      for k in 0..<300 { h = tanh(h * t[1] + Double(k % 5) / 8) }
      let loss = (h * h).sum()
      loss.backward()
      return [loss, t[1].gradient]
    }
    let (x, w) = (Tensor([0.5, 0.25]), Tensor([0.9, 1.1]))
    let expected = body([x, w]).map { elements($0) }
    for window: UInt32 in [10, 61, 1024] {
      Tape.withLimits(TapeLimits(windowRecords: window)) {
        let step = compiled(body)
        for _ in 0..<4 { #expect(step(x, w).map { elements($0) } == expected) }
        #expect(step.calls.replayed == 2)
        // What comes after is limited as before.
        var h = x
        for _ in 0..<100 { h = h * 1 }
        #expect(elements(h) == [0.5, 0.25])
        #expect(Tape.current.brokenInvariant() == nil)
      }
    }
  }

  @Test("On several threads the bits are the same")
  func parallel() {
    let body: @Sendable ([Tensor]) -> [Tensor] = { t in
      let y = exp(t[0]) * t[1] + t[0].sum(axis: 0)
      return [y, matmul(t[0], t[1].T), y.sum()]
    }
    let count = 300
    func matrix(_ salt: Int) -> Tensor {
      Tensor((0..<(count * count)).map { Float(($0 * salt) % 17) / 16 }, shape: [count, count])
    }
    let (x, y) = (matrix(3), matrix(5))
    let step = compiled(body)
    let expected = body([x, y]).map { elements($0) }
    for _ in 0..<4 { #expect(step(x, y).map { elements($0) } == expected) }
    #expect(step.calls.replayed == 2)
  }

  // MARK: Errors

  @Test("An update in place of an argument is an error that says which")
  func updatedArgument() {
    let steps = [
      compiled { t in
        t[1] += t[0]
        return [t[1]]
      },
      compiled { t in
        t[1][0] = t[0][0]
        return [t[0]]
      },
      compiled { t in
        noAutodiff { t[1] *= 2.0 }
        return [t[0], t[1]]
      },
    ]
    let (x, y) = (Tensor([1.0, 2]), Tensor([3.0, 4]))
    for step in steps {
      for _ in 0..<3 {
        let said = message {
          let arePoisoned = step(x, y).allSatisfy { $0.isPoisoned }
          #expect(arePoisoned)
        }
        #expect(
          said.contains("compiled: expected a body that leaves its arguments as they are")
            && said.contains("argument 1"), "\(said)")
        #expect(elements(x) == [1, 2] && elements(y) == [3, 4])
      }
    }
    #expect(Tape.current.brokenInvariant() == nil)
  }

  @Test("A failed body is not remembered, and fails as it would by itself")
  func failedBody() {
    let step = compiled { t in [matmul(t[0], t[1]), t[0] * 2] }
    let square = Tensor([[1.0, 2], [3, 4]])
    for _ in 0..<3 {
      let said = message {
        let results = step(square, Tensor.ones([3, 2]))
        #expect(results.count == 2 && results[0].isPoisoned && results[1].isPoisoned)
      }
      #expect(said.contains("matmul: inner dimensions differ"))
      #expect(elements(step(square, square)[0]) == [7, 10, 15, 22])
    }
    #expect(step.calls.replayed == 1)
  }

  // MARK: What it says

  @Test("Explained: the kernels of the body, without running it")
  func explained() {
    let step = compiled { t in [tanh(t[0] * 2 + 1), t[0].sum()] }
    let x = Tensor.ones([4, 8])
    let explanation = step.explain(x)
    #expect(explanation.kernels.count >= 1 && explanation.kernels.count <= 2)
    #expect(explanation.buffers.filter { $0.role == .input }.map(\.shape) == [[4, 8]])
    #expect(explanation.buffers.filter { $0.role == .result }.count == 2)
    #expect(step.calls.pair == [0, 0])
    // Values that only gradients would need are not kept.
    let deep = compiled { t in [exp(tanh(exp(t[0]))).sum()] }
    #expect(!deep.explain(x).buffers.contains { $0.role == .kept })
  }
}
