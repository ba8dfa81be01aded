// Two operations of our own, as a program outside of the package would write them:
//     swift run -c release CustomOperation

import LazyGrad

/// log(1 + e^x) without overflow. The derivative of the parts would be 0 * inf for large x; ours is
/// the sigmoid. Made of tensor operations, so it is fused with what is around it, and has derivatives
/// of every order.
func softplus(_ x: Tensor) -> Tensor {
  Tensor.composite(inputs: [x]) { x in
    maximum(x[0], 0) + log1p(exp(-abs(x[0])))
  } gradient: { gradient, x, _ in
    [gradient * sigmoid(x[0])]
  }
}

/// The running maximum, by a plain loop over host arrays. The gradient of every place goes to the
/// element that was the largest there.
func runningMaximum(_ x: Tensor) -> Tensor {
  func leaders(_ values: [Double]) -> [Int] {
    var best = 0
    return values.indices.map { i in
      if values[i] > values[best] { best = i }
      return best
    }
  }
  return Tensor.custom(inputs: [x]) { x in
    let values = x[0].elements(as: Double.self)
    return NDArray(leaders(values).map { values[$0] })
  } backward: { gradient, x, _ in
    var result = [Double](repeating: 0, count: x[0].count)
    let leaders = leaders(x[0].elements(as: Double.self))
    for (g, leader) in zip(gradient.elements(as: Double.self), leaders) { result[leader] += g }
    return [NDArray(result)]
  }
}

let x = Tensor([-800.0, 0, 3, 1, 800])
let y = softplus(x)
y.backward()
print("softplus                  \(y)")
print("its gradient              \(x.grad!)")

let slope = gradients(of: softplus(x), withRespectTo: [x], createGraph: true)[0]
print("its second derivative     \(gradients(of: slope, withRespectTo: [x])[0])")

let z = runningMaximum(x * x * 0.01 - x)
z.backward()
print("running maximum           \(z)")
print("its gradient              \(x.grad!)")
