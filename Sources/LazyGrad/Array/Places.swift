// The places of a storage that a window shows: whether two windows have one in common. Uses NDArray's
// layout.

/// The places that an array shows, each once however often it is repeated.
///
/// Windows come from whole arrays by taking indices, ranges and steps of axes, by splitting and joining
/// axes, and by turning them round. So of the axes in the order of their strides each steps over all that
/// those after it span, and a place is like a number in a system of several bases: it has one spelling,
/// which is found digit by digit.
struct Places {
  /// The smallest place.
  private let low: Int
  /// Lengths and strides of the axes that lead to other places, widest stride first, made positive.
  private let axes: [(length: Int, stride: Int)]
  /// How many places there are.
  let count: Int

  init(_ array: NDArray) {
    let (dims, strides) = (array.shape, array.strides)
    let steps = dims.indices.filter { dims[$0] > 1 && strides[$0] != 0 }
    low = steps.reduce(array.offset) { $0 + min(strides[$1], 0) * (dims[$1] - 1) }
    axes = steps.map { (dims[$0], abs(strides[$0])) }.sorted { $0.stride > $1.stride }
    count = array.count == 0 ? 0 : axes.reduce(1) { $0 * $1.length }
  }

  func contains(_ place: Int) -> Bool {
    var rest = place - low
    if rest < 0 || count == 0 { return false }
    for axis in axes {
      let index = rest / axis.stride
      if index >= axis.length { return false }
      rest -= index * axis.stride
    }
    return rest == 0
  }

  /// Whether a condition holds for some place.
  func contains(where condition: (Int) -> Bool) -> Bool {
    if count == 0 { return false }
    var index = [Int](repeating: 0, count: axes.count)
    var place = low
    while true {
      if condition(place) { return true }
      var axis = axes.count - 1
      while axis >= 0 {
        index[axis] += 1
        place += axes[axis].stride
        if index[axis] < axes[axis].length { break }
        place -= index[axis] * axes[axis].stride
        index[axis] = 0
        axis -= 1
      }
      if axis < 0 { return false }
    }
  }
}
