// Tests of the text of host arrays. The expected strings are what NumPy 2.4 prints for the same
// values.

import LazyGrad
import Testing

/// An array, made when it is needed, and its text.
struct PrintingCase: Sendable, CustomTestStringConvertible {
  let array: @Sendable () -> NDArray
  let expected: String

  init(_ array: @autoclosure @escaping @Sendable () -> NDArray, _ expected: String) {
    self.array = array
    self.expected = expected
  }

  var testDescription: String { expected }
}

@Suite("Array printing")
struct NDArrayPrintingTests {
  @Test("Floating-point numbers", arguments: PrintingCase.floats)
  func floats(_ sample: PrintingCase) { #expect(sample.array().description == sample.expected) }

  @Test("Single precision", arguments: PrintingCase.singles)
  func singles(_ sample: PrintingCase) { #expect(sample.array().description == sample.expected) }

  @Test("Integers and Booleans", arguments: PrintingCase.integers)
  func integers(_ sample: PrintingCase) { #expect(sample.array().description == sample.expected) }

  @Test("Shapes, lines and summaries", arguments: PrintingCase.shapes)
  func shapes(_ sample: PrintingCase) { #expect(sample.array().description == sample.expected) }

  @Test("Shape and type without elements")
  func debugDescription() {
    let x = NDArray.zeros([2, 3], dtype: .float32)
    #expect(x.debugDescription == "NDArray(shape: [2, 3], dtype: float32)")
    #expect(NDArray(1).debugDescription == "NDArray(shape: [], dtype: int64)")
  }

  @Test("A view with more corners than memory can hold is not printed element by element")
  func hugeView() {
    let x = NDArray(1.0).broadcast(to: [Int](repeating: 7, count: 20))
    #expect(x.description.hasPrefix("array(...,\n      shape=(7, 7, 7,"))
  }
}

extension PrintingCase {
  static let floats: [PrintingCase] = [
    PrintingCase(NDArray([0.0, 1.0, 2.0]), "array([0., 1., 2.])"),
    PrintingCase(NDArray([1.0, 2.5, 3.25]), "array([1.  , 2.5 , 3.25])"),
    PrintingCase(
      NDArray([[1.0, 2.0], [3.0, 4.0]]),
      """
      array([[1., 2.],
             [3., 4.]])
      """),
    PrintingCase(NDArray(1.5), "array(1.5)"),
    PrintingCase(NDArray(0.0), "array(0.)"),
    PrintingCase(NDArray(-0.0), "array(-0.)"),
    PrintingCase(NDArray([0.0, -0.0]), "array([ 0., -0.])"),
    PrintingCase(NDArray(1e-05), "array(1.e-05)"),
    PrintingCase(NDArray(100000000.0), "array(1.e+08)"),
    PrintingCase(NDArray(99999999.0), "array(99999999.)"),
    PrintingCase(NDArray(Double.nan), "array(nan)"),
    PrintingCase(NDArray(-Double.infinity), "array(-inf)"),
    PrintingCase(NDArray([Double.nan, 1.0]), "array([nan,  1.])"),
    PrintingCase(NDArray([Double.infinity, -.infinity, 0.5]), "array([ inf, -inf,  0.5])"),
    PrintingCase(NDArray([Double.nan, .nan]), "array([nan, nan])"),
    PrintingCase(NDArray([-Double.infinity, 1e-10]), "array([  -inf, 1.e-10])"),
    PrintingCase(NDArray([Double.nan, 1e+300, 1.0]), "array([    nan, 1.e+300, 1.e+000])"),
    PrintingCase(NDArray([0.1, 0.2, 0.30000000000000004]), "array([0.1, 0.2, 0.3])"),
    PrintingCase(NDArray([0.3333333333333333]), "array([0.33333333])"),
    PrintingCase(NDArray([0.6666666666666666, 100.0]), "array([  0.66666667, 100.        ])"),
    PrintingCase(NDArray([0.0001, 1.0]), "array([1.e-04, 1.e+00])"),
    PrintingCase(NDArray([0.0001, 0.5, 0.0999]), "array([1.00e-04, 5.00e-01, 9.99e-02])"),
    PrintingCase(NDArray([9.99e-05, 0.01]), "array([9.99e-05, 1.00e-02])"),
    PrintingCase(NDArray([1.0, 1000.0]), "array([   1., 1000.])"),
    PrintingCase(NDArray([1.0, 1000.5]), "array([1.0000e+00, 1.0005e+03])"),
    PrintingCase(NDArray([1.0, 1001.0]), "array([1.000e+00, 1.001e+03])"),
    PrintingCase(NDArray([10000000000.0]), "array([1.e+10])"),
    PrintingCase(NDArray([100000000.0, 200000000.0]), "array([1.e+08, 2.e+08])"),
    PrintingCase(NDArray([123456789.0, 1.0]), "array([1.23456789e+08, 1.00000000e+00])"),
    PrintingCase(NDArray([12345678.9]), "array([12345678.9])"),
    PrintingCase(NDArray([1e+100, 1e-100]), "array([1.e+100, 1.e-100])"),
    PrintingCase(NDArray([1000000000.0, 1e+100]), "array([1.e+009, 1.e+100])"),
    PrintingCase(
      NDArray([Double.leastNonzeroMagnitude, .greatestFiniteMagnitude]),
      """
      array([4.94065646e-324, 1.79769313e+308])
      """),
    PrintingCase(NDArray([1.23456789012e-07]), "array([1.23456789e-07])"),
    PrintingCase(NDArray([0.001953125]), "array([0.00195312])"),
    PrintingCase(NDArray([0.005859375]), "array([0.00585938])"),
    PrintingCase(NDArray([1.0000000001]), "array([1.])"),
    PrintingCase(NDArray([-1.5, 22.25, -333.125]), "array([  -1.5  ,   22.25 , -333.125])"),
  ]
}

extension PrintingCase {
  static let singles: [PrintingCase] = [
    PrintingCase(NDArray([1.5, 2.5], dtype: .float32), "array([1.5, 2.5], dtype=float32)"),
    PrintingCase(NDArray([0.1, 0.2], dtype: .float32), "array([0.1, 0.2], dtype=float32)"),
    PrintingCase(NDArray(3.0, dtype: .float32), "array(3., dtype=float32)"),
    PrintingCase(NDArray([16777216.0], dtype: .float32), "array([1.6777216e+07], dtype=float32)"),
    PrintingCase(NDArray([999999.0], dtype: .float32), "array([999999.], dtype=float32)"),
    PrintingCase(NDArray([1000000.0], dtype: .float32), "array([1.e+06], dtype=float32)"),
    PrintingCase(
      NDArray([345584192.0, 123456789.0], dtype: .float32),
      """
      array([3.4558419e+08, 1.2345679e+08], dtype=float32)
      """),
    PrintingCase(
      NDArray([[1.5, -2.0], [Double.nan, 4.0]], dtype: .float32),
      """
      array([[ 1.5, -2. ],
             [ nan,  4. ]], dtype=float32)
      """),
  ]
}

extension PrintingCase {
  static let integers: [PrintingCase] = [
    PrintingCase(NDArray([1, 2, 3]), "array([1, 2, 3])"),
    PrintingCase(NDArray([-5, 10, 100]), "array([ -5,  10, 100])"),
    PrintingCase(NDArray(7), "array(7)"),
    PrintingCase(
      NDArray([9223372036854775807, -1]),
      """
      array([9223372036854775807,                  -1])
      """),
    PrintingCase(NDArray([1, 2], dtype: .int32), "array([1, 2], dtype=int32)"),
    PrintingCase(
      NDArray([[1, -2], [30, 4]], dtype: .int32),
      """
      array([[ 1, -2],
             [30,  4]], dtype=int32)
      """),
    PrintingCase(NDArray([0, 255], dtype: .uint8), "array([  0, 255], dtype=uint8)"),
    PrintingCase(NDArray(4, dtype: .uint8), "array(4, dtype=uint8)"),
    PrintingCase(NDArray([true, false]), "array([ True, False])"),
    PrintingCase(NDArray(true), "array(True)"),
    PrintingCase(
      NDArray([[true, true], [false, true]]),
      """
      array([[ True,  True],
             [False,  True]])
      """),
  ]
}

extension PrintingCase {
  static let shapes: [PrintingCase] = [
    PrintingCase(NDArray.zeros([0]), "array([], dtype=float64)"),
    PrintingCase(NDArray.zeros([0, 3]), "array([], shape=(0, 3), dtype=float64)"),
    PrintingCase(NDArray.zeros([2, 0], dtype: .int64), "array([], shape=(2, 0), dtype=int64)"),
    PrintingCase(NDArray.zeros([0], dtype: .float32), "array([], dtype=float32)"),
    PrintingCase(NDArray.zeros([0], dtype: .bool), "array([], dtype=bool)"),
    PrintingCase(
      NDArray.arange(24).reshaped([2, 3, 4]),
      """
      array([[[ 0,  1,  2,  3],
              [ 4,  5,  6,  7],
              [ 8,  9, 10, 11]],

             [[12, 13, 14, 15],
              [16, 17, 18, 19],
              [20, 21, 22, 23]]])
      """),
    PrintingCase(
      NDArray.linspace(0, 1, count: 8).reshaped([2, 2, 2]),
      """
      array([[[0.        , 0.14285714],
              [0.28571429, 0.42857143]],

             [[0.57142857, 0.71428571],
              [0.85714286, 1.        ]]])
      """),
    PrintingCase(
      NDArray.arange(16.0).reshaped([2, 2, 2, 2]),
      """
      array([[[[ 0.,  1.],
               [ 2.,  3.]],

              [[ 4.,  5.],
               [ 6.,  7.]]],


             [[[ 8.,  9.],
               [10., 11.]],

              [[12., 13.],
               [14., 15.]]]])
      """),
    PrintingCase(NDArray.ones([1, 1, 1]), "array([[[1.]]])"),
    PrintingCase(
      NDArray.arange(30.0),
      """
      array([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12.,
             13., 14., 15., 16., 17., 18., 19., 20., 21., 22., 23., 24., 25.,
             26., 27., 28., 29.])
      """),
    PrintingCase(
      NDArray.arange(30),
      """
      array([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16,
             17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])
      """),
    PrintingCase(
      NDArray.arange(30.0, dtype: .float32),
      """
      array([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12.,
             13., 14., 15., 16., 17., 18., 19., 20., 21., 22., 23., 24., 25.,
             26., 27., 28., 29.], dtype=float32)
      """),
    PrintingCase(
      NDArray.linspace(0, 1, count: 20),
      """
      array([0.        , 0.05263158, 0.10526316, 0.15789474, 0.21052632,
             0.26315789, 0.31578947, 0.36842105, 0.42105263, 0.47368421,
             0.52631579, 0.57894737, 0.63157895, 0.68421053, 0.73684211,
             0.78947368, 0.84210526, 0.89473684, 0.94736842, 1.        ])
      """),
    PrintingCase(
      NDArray.linspace(0, 3, count: 14, dtype: .float32),
      """
      array([0.        , 0.23076923, 0.46153846, 0.6923077 , 0.9230769 ,
             1.1538461 , 1.3846154 , 1.6153846 , 1.8461539 , 2.0769231 ,
             2.3076923 , 2.5384614 , 2.7692308 , 3.        ], dtype=float32)
      """),
    PrintingCase(
      NDArray.arange(0.0, 16.0, 0.5, dtype: .float32),
      """
      array([ 0. ,  0.5,  1. ,  1.5,  2. ,  2.5,  3. ,  3.5,  4. ,  4.5,  5. ,
              5.5,  6. ,  6.5,  7. ,  7.5,  8. ,  8.5,  9. ,  9.5, 10. , 10.5,
             11. , 11.5, 12. , 12.5, 13. , 13.5, 14. , 14.5, 15. , 15.5],
            dtype=float32)
      """),
    PrintingCase(
      NDArray.linspace(0, 2e5, count: 9).reshaped([3, 3]),
      """
      array([[     0.,  25000.,  50000.],
             [ 75000., 100000., 125000.],
             [150000., 175000., 200000.]])
      """),
    PrintingCase(
      NDArray.arange(26.0).reshaped([1, 26]),
      """
      array([[ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12.,
              13., 14., 15., 16., 17., 18., 19., 20., 21., 22., 23., 24., 25.]])
      """),
    PrintingCase(
      NDArray.arange(1000)[.slice(step: 40)],
      """
      array([  0,  40,  80, 120, 160, 200, 240, 280, 320, 360, 400, 440, 480,
             520, 560, 600, 640, 680, 720, 760, 800, 840, 880, 920, 960])
      """),
    PrintingCase(
      NDArray.arange(1001),
      """
      array([   0,    1,    2, ...,  998,  999, 1000], shape=(1001,))
      """),
    PrintingCase(
      NDArray.arange(2000.0),
      """
      array([0.000e+00, 1.000e+00, 2.000e+00, ..., 1.997e+03, 1.998e+03,
             1.999e+03], shape=(2000,))
      """),
    PrintingCase(
      NDArray.arange(1200.0, dtype: .float32).reshaped([3, 400]),
      """
      array([[0.000e+00, 1.000e+00, 2.000e+00, ..., 3.970e+02, 3.980e+02,
              3.990e+02],
             [4.000e+02, 4.010e+02, 4.020e+02, ..., 7.970e+02, 7.980e+02,
              7.990e+02],
             [8.000e+02, 8.010e+02, 8.020e+02, ..., 1.197e+03, 1.198e+03,
              1.199e+03]], shape=(3, 400), dtype=float32)
      """),
    PrintingCase(
      NDArray.arange(2000).reshaped([1000, 2]),
      """
      array([[   0,    1],
             [   2,    3],
             [   4,    5],
             ...,
             [1994, 1995],
             [1996, 1997],
             [1998, 1999]], shape=(1000, 2))
      """),
    PrintingCase(
      NDArray.arange(1331).reshaped([11, 11, 11]),
      """
      array([[[   0,    1,    2, ...,    8,    9,   10],
              [  11,   12,   13, ...,   19,   20,   21],
              [  22,   23,   24, ...,   30,   31,   32],
              ...,
              [  88,   89,   90, ...,   96,   97,   98],
              [  99,  100,  101, ...,  107,  108,  109],
              [ 110,  111,  112, ...,  118,  119,  120]],

             [[ 121,  122,  123, ...,  129,  130,  131],
              [ 132,  133,  134, ...,  140,  141,  142],
              [ 143,  144,  145, ...,  151,  152,  153],
              ...,
              [ 209,  210,  211, ...,  217,  218,  219],
              [ 220,  221,  222, ...,  228,  229,  230],
              [ 231,  232,  233, ...,  239,  240,  241]],

             [[ 242,  243,  244, ...,  250,  251,  252],
              [ 253,  254,  255, ...,  261,  262,  263],
              [ 264,  265,  266, ...,  272,  273,  274],
              ...,
              [ 330,  331,  332, ...,  338,  339,  340],
              [ 341,  342,  343, ...,  349,  350,  351],
              [ 352,  353,  354, ...,  360,  361,  362]],

             ...,

             [[ 968,  969,  970, ...,  976,  977,  978],
              [ 979,  980,  981, ...,  987,  988,  989],
              [ 990,  991,  992, ...,  998,  999, 1000],
              ...,
              [1056, 1057, 1058, ..., 1064, 1065, 1066],
              [1067, 1068, 1069, ..., 1075, 1076, 1077],
              [1078, 1079, 1080, ..., 1086, 1087, 1088]],

             [[1089, 1090, 1091, ..., 1097, 1098, 1099],
              [1100, 1101, 1102, ..., 1108, 1109, 1110],
              [1111, 1112, 1113, ..., 1119, 1120, 1121],
              ...,
              [1177, 1178, 1179, ..., 1185, 1186, 1187],
              [1188, 1189, 1190, ..., 1196, 1197, 1198],
              [1199, 1200, 1201, ..., 1207, 1208, 1209]],

             [[1210, 1211, 1212, ..., 1218, 1219, 1220],
              [1221, 1222, 1223, ..., 1229, 1230, 1231],
              [1232, 1233, 1234, ..., 1240, 1241, 1242],
              ...,
              [1298, 1299, 1300, ..., 1306, 1307, 1308],
              [1309, 1310, 1311, ..., 1317, 1318, 1319],
              [1320, 1321, 1322, ..., 1328, 1329, 1330]]], shape=(11, 11, 11))
      """),
    PrintingCase(
      NDArray.zeros([1500], dtype: .bool),
      """
      array([False, False, False, ..., False, False, False], shape=(1500,))
      """),
    PrintingCase(
      NDArray.linspace(-1, 1, count: 1001),
      """
      array([-1.   , -0.998, -0.996, ...,  0.996,  0.998,  1.   ], shape=(1001,))
      """),
    PrintingCase(
      NDArray.arange(12.0).reshaped([3, 4]).transposed(),
      """
      array([[ 0.,  4.,  8.],
             [ 1.,  5.,  9.],
             [ 2.,  6., 10.],
             [ 3.,  7., 11.]])
      """),
    PrintingCase(NDArray.arange(6)[.slice(step: -1)], "array([5, 4, 3, 2, 1, 0])"),
  ]
}
