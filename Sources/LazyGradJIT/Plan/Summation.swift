// The order in which floats are summed, as far as it is anybody's choice. Here because the planner
// must know what it may join without changing a bit; the kernels follow it.

/// How long sums are cut. The parts of a sum are summed by themselves and added in ascending order;
/// where they are cut depends on the sum's own shape and on nothing else. Extremes of everything are
/// cut like sums: then it doesn't depend on anything else either which of two zeros is the largest.
package enum Summation {
  /// Elements of a part of a reduction.
  package static let blockLength = 512
  /// Products of numbers in a part of an element of a matrix product.
  package static let blockDepth = 256
}
