// Views and threads: a base knows its views, which other tasks may drop while it is updated.

import Dispatch
import LazyGrad
import LazyGradJIT
import Testing

extension ConcurrencyTests {
  private final class Views: @unchecked Sendable {
    var all: [Tensor]
    init(_ all: [Tensor]) { self.all = all }
  }

  @Test func viewsAreDroppedElsewhere() {
    let x = Tensor.zeros([8, 4], dtype: .float64)
    for round in 1...100 {
      // What stays lies between what goes.
      var kept: [Tensor] = []
      let lists = [Views([]), Views([])]
      for k in 0..<96 {
        let view = k % 2 == 0 ? x[k % 8] : x[k % 8, 1...]
        if k % 12 == 0 { kept.append(view) } else { lists[k / 2 % 2].all.append(view) }
      }
      let done = DispatchGroup()
      for list in lists {
        DispatchQueue.global().async(group: done) { while list.all.popLast() != nil {} }
      }
      x += 1
      kept.append(x[7])
      x[0] += 1
      x[0] -= 1
      done.wait()
      for view in kept + [x[1, 2...], x] {
        #expect(view.elements(as: Int.self).allSatisfy { $0 == round })
      }
    }
  }

  @Test func viewsAreReadAndDroppedElsewhere() {
    let x = Tensor.full([4, 3], 1.0, constant: true)
    for round in 1...40 {
      let views = Views(noAutodiff { (0..<4).map { x[$0] } })
      eval(views.all)
      // Combined with what another thread has recorded, where the sums wait for their values.
      let sums = Self.onNewThread {
        let own = Tensor.full([3], 1.0, constant: true) * 1.0
        return Sent(value: views.all.map { own + $0 })
      }.value
      let first = x[0]
      if round % 2 == 0 {
        Self.onNewThread { views.all.removeSubrange(1...2) }
      } else {
        views.all.removeSubrange(0...1)
      }
      x += 1
      for view in views.all + [first, x[3]] {
        #expect(view.base === x)
        #expect(view.elements(as: Int.self) == [round + 1, round + 1, round + 1])
      }
      for sum in sums {
        #expect(sum.elements(as: Int.self) == [round + 1, round + 1, round + 1])
      }
    }
  }
}
