// Gradients that are missing: why, and what is done with them where errors are caught.

import LazyGrad
import LazyGradJIT
import Testing

@Suite struct MissingGradientTests {
  @Test("A gradient that is there is the one of grad")
  func present() {
    let w = Tensor([1.0, 2])
    (w * w).backward()
    #expect(w.gradient.elements(as: Double.self) == [2, 4])
    #expect(w.gradient.isConstant && w[0].gradient.item() == 2)
    let loss = w.sum()
    loss.backward()
    #expect(loss.gradient.item() == 1)
    #expect(message { w -= 0.5 * w.gradient } == "no error")
    #expect(w.elements(as: Double.self) == [0.5, 1.5])
  }

  @Test("Each reason has its message")
  func reasons() {
    Tensor([1.0]).backward()
    let w = Tensor([1.0, 2])
    #expect(message { _ = w.gradient }.contains("no backward pass has reached the tensor"))
    #expect(message { _ = w[0].gradient }.contains("no backward pass has reached the tensor"))
    #expect(
      message { _ = Tensor([1, 2]).gradient }
        == "gradient: the tensor is a constant, as integers and bools are, got int64; gradients need floats"
    )
    #expect(
      message { _ = Tensor([1.0], constant: true).gradient }.contains("made with constant: true"))
    (w * w).backward()
    _ = w + 1
    #expect(message { _ = w.gradient }.contains("an operation has used the tensor since"))
    #expect(message { _ = w[1].gradient }.contains("an operation has used the tensor since"))
    (w * w).backward()
    #expect(message { _ = w.gradient } == "no error")
    w.nullGradient()
    #expect(message { _ = w.gradient }.contains("nullGradient() has dropped the gradient"))
    let other = Tensor([3.0])
    (noAutodiff { other * 2 } * w).sum().backward()
    #expect(message { _ = other.gradient }.contains("only through noAutodiff"))
    let inside = noAutodiff { other * 2 }
    #expect(message { _ = inside.gradient }.contains("made inside noAutodiff"))
    // Said for sure while its record is there, which a full window ends.
    let sure = Tape.withLimits(.usual) {
      let inside = noAutodiff { other * 2 }
      return message { _ = inside.gradient }
    }
    #expect(sure.contains("the tensor was made inside noAutodiff, and"))
    inside.backward()
    #expect(inside.gradient.item() == 1)
    (w * w).backward()
    w *= 2
    #expect(message { _ = w.gradient }.contains("an update in place or nullGradient()"))
    (w * w).backward()
    _ = w + 1
    #expect(message { _ = w.gradient }.contains("an operation has used the tensor since"))
    #expect(other.grad == nil)
  }

  @Test("backward() on a constant does nothing, and the missing gradient says why")
  func constantTarget() {
    let w = Tensor([1.0, 2])
    let loss = Tensor([3.0], constant: true)
    #expect(message { loss.backward() } == "no error")
    #expect(loss.grad == nil && w.grad == nil)
    #expect(message { _ = loss.gradient }.contains("the tensor is a constant"))
    Tensor([1, 2]).sum().backward()
    #expect(message { _ = w.gradient }.contains("or is a constant"))
  }

  @Test("The gradient with respect to one tensor")
  func single() {
    let x = Tensor([1.0, 2, 3])
    let y = (x * x * x).sum()
    let slope = gradient(of: y, withRespectTo: x, createGraph: true)
    #expect(slope.elements(as: Double.self) == [3, 12, 27])
    #expect(gradient(of: slope, withRespectTo: x).elements(as: Double.self) == [6, 12, 18])
    #expect(x.grad == nil)
    #expect(gradient(of: y, withRespectTo: Tensor([1.0, 1])).elements(as: Double.self) == [0, 0])
    #expect(gradient(of: Tensor(2.0) ** 2, withRespectTo: Tensor(1.0)).shape == [])
  }

  @Test("After a failed pass the update is poisoned, and the first error is thrown")
  func failedPass() {
    let (w, x) = (Tensor([1.0, 2]), Tensor([1.0, 2, 3]))
    for step in [
      { (loss: Tensor) in
        loss.backward()
        let next = w - 0.1 * w.grad!
        (next * next).backward()
        _ = (next - 0.1 * next.grad!).eval()
        #expect(next.debugDescription.contains("poisoned"))
      },
      { loss in
        loss.backward()
        let next = w - 0.1 * w.gradient
        (next * next).backward()
        _ = (next - next.gradient).item()
      },
      { loss in
        loss.backward(w * 2)
        w -= 0.1 * w.grad!
        w[0] -= w[0].grad!
        _ = w.grad!.elements(as: Double.self)
      },
    ] {
      #expect(
        message { step((w * x).sum()) }
          == "multiply: expected shapes that broadcast together, got [2] and [3]")
      #expect(w.elements(as: Double.self) == [1, 2] && w.grad == nil)
    }
    // A seed that does not fit, and a graph that was cleared, are errors of the pass itself.
    #expect(
      message {
        (w * w).backward(x)
        _ = w - w.grad!
      }.contains("expected a seed"))
    let shared = w * w
    let (first, second) = (shared * 2, shared * 3)
    first.backward()
    #expect(
      message {
        second.backward()
        _ = x - x.grad!
      }.contains("cleared by an earlier backward pass"))
  }

  @Test("A gradient that was there before an error stays, and a poisoned one gets into no copy")
  func kept() {
    let w = Tensor([1.0, 2])
    (w * 3).backward()
    _ = message {
      _ = Tensor([1.0])[4]
      #expect(w.grad!.elements(as: Double.self) == [3, 3])
      let copy = Tensor([5.0]).copy()
      #expect(copy.debugDescription.contains("variable"))
      #expect(copy.elements(as: Double.self) == [5])
    }
    #expect(w.gradient.elements(as: Double.self) == [3, 3])
  }
}
