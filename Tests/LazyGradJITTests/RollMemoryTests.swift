// Loops whose turns read and write parts of arrays: views and regions that move on by turns, updates in the memory of
// what they change, and where values are that go from turn to turn.

import LazyGradJIT
import TestSupport
import Testing

@Suite struct RollMemoryTests {
  // MARK: Views

  /// Rows of a computed array, of a leaf and of an alias, one after the other or from the last one on.
  @Test(arguments: 0..<3, [false, true])
  func viewsThatMove(kind: Int, isDescending: Bool) throws {
    let s = PlanSketch()
    var table = s.leaf(12, 6)
    if kind > 0 { table = s.op(.exp, table) }
    if kind == 2 { table = s.attach(s.op(.sin, table), table) }
    var h = s.leaf(6)
    for t in 0..<9 {
      let row = isDescending ? 9 - t : t
      h = s.op(.tanh, s.op(.add, s.op(.mul, h, s.view(table, [6], at: 6 * row)), s.leaf(6)))
    }
    let text = try RollCheck.plan(s, s.graph(h))
    #expect(RollCheck.turns(text).contains { $0 > 5 }, "\(text)")
  }

  /// The last turn reads the last row, in the order of a result: no more than that row could be its memory.
  @Test func resultsOfRows() throws {
    for isLeaf in [true, false] {
      let s = PlanSketch()
      let table = isLeaf ? s.leaf(24, 6) : s.op(.exp, s.leaf(24, 6))
      let roots = (0..<20).map { s.op(.sin, s.op(.exp, s.view(table, [6], at: 6 * $0))) }
      _ = try RollCheck.plan(s, s.graph(roots))
    }
  }

  /// Several of the same array in a turn, of which the first does not begin first; the array as a whole, too.
  @Test func severalViewsInATurn() throws {
    for readsWhole in [false, true] {
      let s = PlanSketch()
      let table = s.op(.sin, s.leaf(16, 6))
      var h = s.leaf(3, 6)
      for t in 0..<9 {
        let rows = s.view(table, [3, 6], at: 6 * t + 3)
        let row = s.view(table, [6], at: 6 * t)
        let column = s.view(table, [3, 1], strides: [12, 1], at: 6 * t + 1)
        h = s.op(.tanh, s.op(.add, s.op(.mul, h, rows), s.op(.mul, row, column)))
        if readsWhole { h = s.op(.add, h, s.reduce(.sum, table, axis: 0)) }
      }
      _ = try RollCheck.plan(s, s.graph(h))
    }
  }

  /// Elements backwards, every other one, one for all, and rows as columns.
  @Test func viewsOfEveryLayout() throws {
    let layouts: [(strides: [Int], first: Int)] = [
      ([6, -1], 5), ([-6, 1], 12), ([-6, -1], 17), ([2, 1], 0), ([0, 2], 0), ([1, 6], 0),
      ([-1, 6], 5), ([0, 0], 3),
    ]
    for (strides, first) in layouts {
      for isLeaf in [false, true] {
        let s = PlanSketch()
        let table = isLeaf ? s.leaf(16, 6) : s.op(.exp, s.leaf(16, 6))
        var h = s.leaf(3, 4)
        for t in 0..<7 {
          let view = s.view(table, [3, 4], strides: strides, at: first + 4 * t)
          h = s.op(.tanh, s.op(.mul, s.op(.add, h, view), s.leaf(4)))
        }
        _ = try RollCheck.plan(s, s.graph(h))
      }
    }
  }

  /// A value goes on to the next turn as its transpose.
  @Test func valuesThatAreTurnedOnTheWay() throws {
    let s = PlanSketch()
    var h = s.leaf(5, 5)
    for _ in 0..<8 { h = s.op(.tanh, s.op(.add, s.matmul(h, s.transposed(h)), s.leaf(5, 5))) }
    _ = try RollCheck.plan(s, s.graph(h))
    let t = PlanSketch()
    var (x, y) = (t.leaf(4, 6), t.leaf(6, 4))
    for _ in 0..<8 {
      let z = t.op(.sin, t.op(.add, t.transposed(x), y))
      (x, y) = (t.op(.mul, t.transposed(z), t.leaf(4, 6)), z)
    }
    _ = try RollCheck.plan(t, t.graph(x, y))
  }

  /// Views of views of values of other turns, some of which have to be brought together first.
  @Test(arguments: 0..<4)
  func viewsOfViews(kind: Int) throws {
    let s = PlanSketch()
    let table = kind % 2 == 0 ? s.op(.exp, s.leaf(12, 6)) : s.leaf(12, 6)
    let turned = s.transposed(table)
    let outer = kind < 2 ? turned : s.attach(s.leaf(6, 12), turned)
    var h = s.leaf(6)
    var last = s.view(outer, [6], at: 0)
    for t in 0..<9 {
      let inner = s.view(outer, [2, 6], at: 3 * t)
      let row = s.view(inner, [6], at: 6)
      h = s.op(.tanh, s.op(.add, s.op(.mul, h, row), last))
      last = s.view(s.attach(h, s.view(h, [3, 2], strides: [1, 3])), [6])
    }
    // The places of views of a turned array stay in the turns' own plans.
    _ = try RollCheck.plan(s, s.graph(h), isRolled: nil)
    // Where the outer view moves on and the inner one doesn't.
    var x = s.leaf(6)
    for t in 0..<9 {
      let moving = s.view(table, [3, 2], strides: [1, 3], at: 6 * t)
      x = s.op(.tanh, s.op(.add, s.op(.mul, x, s.leaf(6)), s.view(s.attach(x, moving), [6])))
    }
    _ = try RollCheck.plan(s, s.graph(x))
  }

  /// Leaves whose elements don't lie in order, each turn's own and one of all.
  @Test func stridedLeaves() throws {
    let s = PlanSketch()
    let shared = s.leaf([4, 6], strides: [1, 4])
    var h = s.leaf(4, 6)
    for _ in 0..<8 {
      let product = s.matmul(h, s.leaf([6, 6], strides: [1, 6]))
      let part = s.view(s.op(.sin, shared), [4, 6])
      h = s.op(.tanh, s.op(.add, s.op(.add, product, shared), part))
    }
    _ = try RollCheck.plan(s, s.graph(h))
  }

  // MARK: Updates

  /// Rows of an array that are written by turns, which begins as a leaf, as a computed value or in the memory of one
  /// that somebody reads before.
  @Test(arguments: [Opcode.setRegion, .addRegion], 0..<4)
  func regionsThatMove(_ opcode: Opcode, kind: Int) throws {
    for isDescending in [false, true] {
      let s = PlanSketch()
      var table = s.leaf(12, 6)
      if kind > 0 { table = s.op(.sin, table) }
      var (h, roots) = (s.leaf(6), [Int]())
      for t in 0..<9 {
        let place = 6 * (isDescending ? 9 - t : t)
        if kind == 2 { h = s.op(.mul, h, s.view(table, [6], at: place + 6)) }
        h = s.op(.tanh, s.op(.add, h, s.leaf(6)))
        table = s.region(opcode, table, h, [6], at: place)
        if kind == 3, t == 4 { roots.append(table) }
      }
      _ = try RollCheck.plan(s, s.graph(roots + [table, h]))
      _ = try RollCheck.plan(s, s.graph(roots + [s.op(.exp, table)]))
    }
  }

  /// Of other layouts than rows, with values that are broadcast, and numbers of the program's among the places.
  @Test func regionsOfEveryLayout() throws {
    for opcode in [Opcode.setRegion, .addRegion] {
      let s = PlanSketch()
      var table = s.op(.exp, s.leaf(12, 6))
      for t in 0..<8 {
        table = s.region(
          opcode, table, s.scalar(Double(t) / 4), [2, 3], strides: [-6, 2], at: 6 + 6 * t)
        table = s.region(
          opcode, table, s.op(.sin, s.leaf(3)), [4, 3], strides: [6, -1], at: 2 + t)
        table = s.op(.mul, table, s.scalar(1.5))
      }
      _ = try RollCheck.plan(s, s.graph(table))
    }
  }

  /// The same array is changed in each turn anew: its memory is not free before the last.
  @Test func changesOfOneArray() throws {
    for isLeaf in [true, false] {
      for opcode in [Opcode.setRegion, .addRegion] {
        let s = PlanSketch()
        let table = isLeaf ? s.leaf(24, 6) : s.op(.sin, s.leaf(24, 6))
        var roots: [Int] = []
        for t in 0..<20 { roots.append(s.region(opcode, table, s.leaf(6), [6], at: 6 * t)) }
        _ = try RollCheck.plan(s, s.graph(roots))
        _ = try RollCheck.plan(s, s.graph(roots.map { s.reduce(.sum, $0, axis: 0) }))
      }
    }
  }

  /// A part of the old value is read in the turn that changes it, or later: the part that changes or another one.
  @Test(arguments: 0..<4, [0, 6])
  func partsOfWhatChanges(kind: Int, distance: Int) throws {
    let s = PlanSketch()
    var table = kind < 2 ? s.leaf(12, 6) : s.op(.sin, s.leaf(12, 6))
    var (h, before) = (s.leaf(6), table)
    for t in 0..<8 {
      let old = s.view(kind % 2 == 0 ? table : before, [6], at: 6 * t + distance)
      let new = s.region(.setRegion, table, s.op(.exp, h), [6], at: 6 * t)
      h = s.op(.tanh, s.op(.add, s.op(.mul, h, old), s.view(new, [6], at: 6 * t)))
      (before, table) = (table, new)
    }
    _ = try RollCheck.plan(s, s.graph(table, h))
  }

  /// Every value takes the memory of the one before, where a loop computes it element by element.
  @Test(arguments: [ScalarType.float32, .float64])
  func valuesInPlace(_ type: ScalarType) throws {
    let s = PlanSketch(type)
    var (x, v) = (s.leaf(40, 9), s.leaf(40, 9))
    for _ in 0..<8 {
      v = s.op(.add, s.op(.mul, v, s.scalar(0.5)), s.op(.sin, s.op(.mul, x, s.leaf(40, 9))))
      x = s.op(.sub, x, s.op(.mul, v, s.scalar(0.25)))
    }
    _ = try RollCheck.plan(s, s.graph(x, v))
    // Who reads the first ones later must find them.
    let t = PlanSketch(type)
    let first = t.leaf(40, 9)
    var (y, sums) = (first, [Int]())
    for _ in 0..<8 {
      y = t.op(.sub, y, t.op(.mul, t.op(.square, y), t.leaf(40, 9)))
      sums.append(t.reduce(.sum, t.op(.mul, y, first)))
    }
    _ = try RollCheck.plan(t, t.graph(sums + [y]))
    // Also one turn later, and as a transpose.
    let u = PlanSketch(type)
    var (a, b) = (u.op(.sin, u.leaf(7, 7)), u.op(.cos, u.leaf(7, 7)))
    for _ in 0..<8 { (a, b) = (u.op(.sub, u.op(.mul, a, u.leaf(7, 7)), u.transposed(b)), a) }
    _ = try RollCheck.plan(u, u.graph(a, b))
  }

  /// Each of two values could be computed in the memory of each of two others.
  @Test func valuesWithSeveralHeirs() throws {
    for keepsAll in [false, true] {
      let s = PlanSketch()
      var (x, y) = (s.op(.sin, s.leaf(8, 6)), s.op(.cos, s.leaf(8, 6)))
      var roots: [Int] = []
      for _ in 0..<8 {
        let sum = s.op(.mul, s.op(.add, x, y), s.leaf(6))
        (x, y) = (s.op(.sin, sum), s.op(.tanh, sum))
        if keepsAll { roots += [x, y] }
      }
      _ = try RollCheck.plan(s, s.graph(roots + [x, y]))
    }
  }

  // MARK: Rows

  @Test(arguments: 0..<3)
  func rowsThatMove(kind: Int) throws {
    let s = PlanSketch()
    var table = s.leaf(12, 6)
    if kind > 0 { table = s.op(.sin, table) }
    var h = s.leaf(2, 6)
    for t in 0..<9 {
      let rows = s.rows(from: t)
      let taken = s.add(
        GraphNode(.gatherRows, .float32, shape: s.nodes[h].shape, a: table, b: rows))
      h = s.op(.tanh, s.op(.add, h, taken))
      table = s.add(
        GraphNode(
          kind == 2 ? .setRows : .scatterAddRows, .float32, shape: s.nodes[table].shape, a: table,
          b: h, c: rows, offset: kind == 2 ? 6 : 0))
    }
    _ = try RollCheck.plan(s, s.graph(table))
    _ = try RollCheck.plan(s, s.graph(s.op(.exp, table), h))
  }

  // MARK: Plans

  private func recurrence(_ turns: Int) -> Graph {
    let s = PlanSketch()
    let (w, b) = (s.leaf(8, 8), s.leaf(8))
    return s.graph((0..<turns).reduce(s.leaf(1, 8)) { h, _ in s.step(h, w, b) })
  }

  @Test func textOfALoop() {
    let lines = RollCheck.text(recurrence(20), RollCheck.limits(merged: 1)).split(separator: "\n")
    // The first turns are nearer to what all of them read.
    #expect(RollCheck.turns(lines.joined(separator: "\n")) == [17], "\(lines)")
    #expect(lines.contains("  end of loop"))
  }

  /// Longer loops are planned by the same kernels, and take no more memory.
  @Test func whatIsPlannedDoesNotGrow() {
    for merged in 1...4 {
      let texts = [24, 240, 2400].map {
        RollCheck.text(recurrence($0), RollCheck.limits(merged: merged))
      }
      #expect(Set(texts.map(RollCheck.kernelLines)).count == 1, "\(texts)")
      let arenas = texts.map { $0.split(separator: ",").first { $0.hasPrefix(" arena") } }
      #expect(Set(arenas).count == 1, "\(texts)")
    }
    let usual = [100, 1000].map { RollCheck.text(recurrence($0), .usual) }
    #expect(usual.allSatisfy { $0.contains("loop of") }, "\(usual)")
    // How many turns are left over decides which sections there are.
    #expect(usual.allSatisfy { RollCheck.kernelLines($0) <= 100 }, "\(usual)")
  }

  /// What the planner is given once and again is found, in short turns and in long ones.
  @Test(arguments: [2, 3, 7])
  func periods(operations: Int) {
    let s = PlanSketch()
    let opcodes: [Opcode] = [.sin, .neg, .tanh, .abs, .cos, .square, .exp]
    var h = s.leaf(5)
    for _ in 0..<12 {
      for k in 0..<operations { h = s.op(opcodes[(k + k / 7) % 7], h) }
      h = s.op(.mul, h, s.leaf(5))
    }
    let turns = RollCheck.turns(RollCheck.text(s.graph(h), RollCheck.limits(merged: 1)))
    #expect(turns.contains { $0 >= 10 && $0 <= 12 }, "\(turns)")
  }

  /// Nothing comes again.
  @Test func graphsWithoutLoops() throws {
    let s = PlanSketch()
    let (x, w) = (s.leaf(3, 5), s.leaf(5, 4))
    let y = s.op(.tanh, s.matmul(s.op(.exp, x), w))
    let z = s.op(.div, y, s.reduce(.sum, s.op(.square, y), axis: 1, keeps: true))
    _ = try RollCheck.plan(s, s.graph(z), isRolled: false)
    #expect(!RollCheck.text(recurrence(20), .usual).contains("loop of"))
    #expect(!RollCheck.text(recurrence(1000), .off).contains("loop of"))
  }
}
