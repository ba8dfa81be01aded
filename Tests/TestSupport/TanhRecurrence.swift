// A recurrence in numbers: the reference of recordings that are longer than a window.

import Foundation

/// h' = tanh(h w + x) for two units, and the loss 0.5 h' h' summed over all steps.
public struct TanhRecurrence {
  /// The loss.
  public private(set) var loss = 0.0
  /// The loss differentiated by w, row by row, and by x.
  public private(set) var gradient = [0.0, 0, 0, 0, 0]

  /// Runs it from zeros, and back.
  public init(_ w: [Double], _ x: Double, steps: Int) {
    var h: [[Double]] = [[0, 0]]
    for t in 0..<steps {
      let before: [Double] = h[t]
      var after: [Double] = [0, 0]
      for j in 0..<2 {
        let sum: Double = before[0] * w[j] + before[1] * w[2 + j] + x
        after[j] = tanh(sum)
        loss += 0.5 * after[j] * after[j]
      }
      h.append(after)
    }
    var g: [Double] = [0, 0]
    for t in stride(from: steps, to: 0, by: -1) {
      var d: [Double] = [0, 0]
      for j in 0..<2 {
        let slope: Double = 1 - h[t][j] * h[t][j]
        d[j] = (g[j] + h[t][j]) * slope
        gradient[4] += d[j]
      }
      for i in 0..<2 {
        for j in 0..<2 { gradient[2 * i + j] += h[t - 1][i] * d[j] }
        g[i] = d[0] * w[2 * i] + d[1] * w[2 * i + 1]
      }
    }
  }
}
