// Pass 1b: small operations of independent parts of the graph that are alike become one.
//
// A program that goes through a batch sample by sample, because every sample has another shape, or that trains
// many small models, records thousands of operations on single rows. A row takes less time than the call that
// computes it, and a product with one row reads its whole right operand for that row. The pass finds what can
// be computed together (BatchSchedule) and puts in its place
//
//     members   a1 b1   a2 b2   a3 b3             batch   a1 | b1
//                 \ /     \ /     \ /                     a2 | b2   ->   v1
//                  v1      v2      v3                     a3 | b3        v2
//                                                                        v3
//
// one operation on slabs, with a row per member. Its result is a slab whose rows are read in place, as views;
// an operand is a part of a slab that is there already, or its rows are brought together before (a stack).
// Products get as many rows as they have members, and become products of matrices. What must be in memory of its
// own is copied out. From there on it is a graph like any other, which is grouped, placed and lowered as if the
// program had been written so.
//
// 1. No bit changes: an element of a result has the same operands and the same order of sums, whatever row it is
//    in. That is true of products because the order of their sums depends on the summed axis alone, and of
//    reductions because only short ones are batched, which are one part in any loop (Summation).
// 2. Long sums, which gradients of shared weights are, are taken as a whole (BatchChains): terms in the order of
//    the program, added one after the other.
// 3. It ends, and has no cycles: steps are computed in the order of the schedule, in which operands come first.

extension Planner {
  /// Batches the graph, if that makes much less of it.
  mutating func batch(_ limits: BatchLimits) {
    if limits.members < 1 || graph.nodes.count < limits.operations { return }
    let schedule = BatchSchedule(self, limits)
    let steps = schedule.stepCount
    if steps == 0 || schedule.operationCount < limits.operationsPerStep * steps { return }
    var builder = BatchBuilder(self, limits)
    builder.build(schedule)
    self = builder.planner
  }

  // MARK: Groups of scheduled positions

  mutating func groupScheduled(_ i: Int) {
    switch entries[i].list {
    case .none:
      if let terms = productSums[Int32(i)] { groupProductSum(i, terms) } else { group(i) }
    case .stack, .sum:
      settleInputs(i)
      makeMove(i)
    case .unstack:
      settleInputs(i)
      let g = groups.count - 1
      if g >= 0, groups[g].kind == .move {
        let other = Int(groups[g].members[0])
        if entries[other].list == .unstack, input(other, 0).position == input(i, 0).position {
          join(i, g, as: .late)
          noteReads(i, g, elementwise: false)
          return
        }
      }
      makeMove(i)
    }
  }

  private mutating func makeMove(_ i: Int) {
    let g = newGroup(i)
    groups[g].kind = .move
    entries[i].kind = .late
    noteReads(i, g, elementwise: false)
  }

  /// One kernel for a sum of products, in the order of its terms.
  private mutating func groupProductSum(_ i: Int, _ terms: [Int32]) {
    var totalK = 0
    for term in terms {
      settleInputs(Int(term))
      readable(Int(term), 0, needsRows: false)
      readable(Int(term), 1, needsRows: true)
      totalK += layout(input(Int(term), 0).shape).dims[1]
    }
    let g = newGroup(Int(terms[0]), columns: layout(entries[i].node.shape).dims[1])
    for term in terms.dropFirst() { join(Int(term), g, as: .full) }
    join(i, g, as: .full)
    groups[g].product = ProductGroup(
      terms: terms, start: -1, sum: Int32(i), totalK: totalK, memberCount: terms.count + 1)
    for term in terms { noteReads(Int(term), g, elementwise: false) }
  }
}
