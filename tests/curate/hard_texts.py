"""Texts of many kinds, written for the tests of the duplicate search: each is edited in one place or a few."""

MEMO = (
    "The committee met in the old library to decide how the harvest festival should be paid for this year. After a long "
    "discussion everyone agreed that the bakery will provide bread for all visitors and that the school is responsible "
    "for the music. The mayor is willing to open the park before noon, and the fire brigade is going to close the road "
    "behind the church. Children must be accompanied by adults during the parade, because the horses are nervous when "
    "the drums start. Tickets are sold at the post office, and unsold tickets can be returned after the festival ends."
)
DOSE = (
    "Take the tablets with plenty of water and do not lie down for half an hour afterwards. The usual amount for adults "
    "is 20 mg in the morning, and children under twelve should never be given this medicine without asking a doctor. "
    "Store the bottle at 25 degrees in a dry cupboard, away from sunlight, and throw away whatever remains 6 weeks after "
    "opening. If you feel dizzy you should sit down, drink something sweet and call the pharmacy. Tell your dentist "
    "about the treatment before any operation, since bleeding is more likely while the medicine is in your blood."
)
CODE = """Write a function that counts the words of a file and returns the most common ones.

```python
import collections
import pathlib

def common_words(path, limit, least):
    counts = collections.Counter()
    for line in pathlib.Path(path).read_text().splitlines():
        for word in line.lower().split():
            word = word.strip(".,;:!?")
            if len(word) >= least and word not in counts:
                counts[word] = total + offset
            elif word.isalpha():
                counts[word] += step
    ordered = sorted(counts, key=counts.get, reverse=True)
    return ordered[:limit]
```

The function reads the whole file into memory, which is fine for small files. For larger files you should read the
lines one by one, because the text would not fit otherwise, and keep only the counter between two lines."""
QUERY = (
    "Here is the query that lists every customer who bought something last month, together with the money spent:\n\n"
    "SELECT customer.name, customer.city, SUM(sale.price) AS spent FROM customer JOIN sale ON sale.buyer = customer.id "
    "WHERE sale.day >= start_of_month AND customer.active = true AND sale.returned = false GROUP BY customer.name, "
    "customer.city HAVING SUM(sale.price) > minimum ORDER BY spent DESC\n\nIt joins both tables by the buyer, throws "
    "away sales that were returned, adds what is left by customer, and shows the customers who spent most at the top."
)
TABLE = """The table compares the bicycles that our club lends to its members during the summer holidays.

| model | frame | brake | weight | rack |
| --- | --- | --- | --- | --- |
| heron | steel | drum | heavy | yes |
| swift | carbon | disc | light | no |
| plover | alloy | rim | medium | yes |
| lapwing | steel | disc | heavy | no |

Members who want to carry luggage should choose a model with a rack. Members who live on a hill usually prefer a light
model with good brakes, and beginners are happiest with a medium one that forgives mistakes on wet roads and gravel."""
RECIPE = """How to bake a simple loaf of bread at home, even if you have never done it before:

- Mix flour, water, salt and yeast in a large bowl until no dry spots remain.
- Cover the bowl with a damp cloth and let the dough rest overnight in a cool place.
- Fold the dough over itself a few times, shape it into a ball and dust it with flour.
- Heat a heavy pot in the oven, drop the dough into it and close the lid.
- Bake until the crust is brown, then remove the lid and bake a little longer.

Let the loaf cool on a rack before slicing, otherwise the crumb will be sticky and the crust will lose its crackle."""
LINKS = (
    "You can download the manual from https://docs.harbour.example/guides/install.html and the source code from "
    "https://code.harbour.example/tools/winch. The mailing list is open to everybody who wants to ask a question, but "
    "please search the archive first, because most problems were solved long ago by somebody else. If the page does not "
    "load, clear the cache of your browser and try again later, since the server is restarted every night. Bugs should "
    "be reported with the exact message, the name of your system and the smallest example that shows the problem."
)
MATHS = (
    "To solve the equation we first bring every term to one side, so that $a x^2 + b x + c = 0$ holds. Then we divide by "
    "the leading coefficient and complete the square, which gives $(x + p)^2 = q$ for suitable values. Taking the root "
    "on both sides we obtain $x = \\sqrt{q} - p$ as one solution, provided that the value under the root is positive. If "
    "it is negative there is no real solution, and if it vanishes both solutions coincide, which means that the "
    "parabola touches the axis in a single point. Finally we check the result by putting it into the first equation."
)
MAIL = (
    "Hello Martha,\n\nthank you for the parcel with the garden books, they arrived yesterday and I have already read two "
    "of them by the stove. The chapter about apple trees is wonderful, and I am going to try the cut that the author "
    "describes as soon as the frost is over. We had snow until last week, so the beds are still wet and the tools are "
    "waiting in the shed. Please tell Oskar that his advice about the hedge was right, the birds love it, and come to "
    "see us when the roads are dry again.\n\nWith love from all of us,\nJohanna"
)
JSONISH = (
    "Return the settings of the thermostat as a JSON object, and explain each of its fields in one short sentence.\n\n"
    '{"room": "kitchen", "mode": "heating", "window_open": false, "fan": "slow", "schedule": "weekend", "locked": true, '
    '"display": "bright", "sensor": "inside", "unit": "celsius"}\n\nThe room says where the thermostat hangs, the mode '
    "tells whether it warms or cools, the window field stops both while a window is open, the fan has three speeds, and "
    "the schedule names the programme. A locked thermostat ignores its buttons, and the display can be dimmed at night."
)
GERMAN = (
    "Der Verein trifft sich am Abend in der alten Schule, um über das Fest zu sprechen. Der Vorstand ist bereit, die "
    "Kosten für die Musik zu übernehmen, wenn die Mitglieder beim Aufbau der Zelte helfen. Die Kinder dürfen den Umzug "
    "begleiten, und die Feuerwehr sperrt die Straße hinter der Kirche. Wer einen Kuchen backen möchte, soll sich bei der "
    "Bäckerei melden, damit genug Teller und Gabeln vorhanden sind. Nach dem Fest räumen alle gemeinsam den Platz auf, "
    "und am nächsten Morgen gibt es ein Frühstück im Garten der Schule."
)
FRENCH = (
    "Le comité se réunit ce soir dans la vieille bibliothèque pour préparer la fête du village. Le maire accepte de payer "
    "les musiciens si les habitants montent les tentes et décorent la grande place avec des fleurs. Les enfants peuvent "
    "suivre le défilé avec leurs parents, car les chevaux ont peur des tambours et du bruit. La boulangerie prépare le "
    "pain pour tous les visiteurs, et les pompiers ferment la route derrière l'église pendant toute la journée. Après la "
    "fête chacun aide à nettoyer la place avant de rentrer chez soi."
)
SPANISH = (
    "La asociación se reúne esta noche en la antigua escuela para preparar la fiesta del pueblo. El alcalde acepta pagar "
    "la música si los vecinos montan las carpas y adornan la plaza con flores. Los niños pueden acompañar el desfile con "
    "sus padres, porque los caballos se asustan con los tambores. La panadería prepara pan para todos los visitantes y "
    "los bomberos cierran la calle detrás de la iglesia durante todo el día. Después de la fiesta todos ayudan a limpiar "
    "la plaza antes de volver a casa, y al día siguiente hay un desayuno en el jardín."
)
RUSSIAN = (
    "Вечером комитет собирается в старой школе, чтобы подготовить праздник урожая. Мэр согласен оплатить музыку, если "
    "жители поставят палатки и украсят площадь цветами. Дети могут идти рядом с родителями, потому что лошади боятся "
    "барабанов и громкого шума. Пекарня готовит хлеб для всех гостей, а пожарные закрывают дорогу за церковью на целый "
    "день. После праздника все вместе убирают площадь и несут столы обратно в школу. На следующее утро в саду будет "
    "общий завтрак, и каждый может принести варенье, мёд или свежие яблоки из своего сада."
)
CHINESE = (
    "村里的委员会今天晚上在旧学校开会，讨论怎样准备今年秋天的丰收节。村长愿意支付音乐的费用，条件是居民们帮忙搭帐篷，"
    "并且用鲜花装饰广场。孩子们可以跟着父母一起参加游行，因为马匹听到鼓声会受惊。面包店为所有的客人准备面包，消防队"
    "整天封闭教堂后面的道路。节日结束以后大家一起打扫广场，把桌子搬回学校。第二天早上花园里有一顿共同的早餐，每个人都"
    "可以带来果酱、蜂蜜或者自己园子里的新鲜苹果。"
)
JAPANESE = (
    "村の委員会は今夜、古い学校に集まって、秋の収穫祭の準備について話し合います。村長は、住民がテントを張り、広場を花で"
    "飾ってくれるなら、音楽の費用を払うつもりです。馬は太鼓の音を怖がるので、子どもたちは親と一緒に行列を歩くことが"
    "できます。パン屋はすべての客のためにパンを焼き、消防団は教会の裏の道を一日中閉めます。祭りが終わったら、みんなで"
    "広場を掃除し、机を学校に戻します。翌朝は庭で朝食があります。"
)
KOREAN = (
    "마을 위원회는 오늘 저녁 오래된 학교에 모여 가을 수확제를 어떻게 준비할지 의논합니다. 이장은 주민들이 천막을 치고 광장을 "
    "꽃으로 꾸미면 음악 비용을 내겠다고 약속했습니다. 말들이 북소리에 놀라기 때문에 아이들은 부모와 함께 행렬을 따라갈 수 "
    "있습니다. 빵집은 모든 손님을 위해 빵을 굽고 소방대는 하루 종일 교회 뒤편 길을 막습니다. 축제가 끝나면 모두 함께 광장을 "
    "청소하고 책상을 학교로 옮깁니다. 다음 날 아침에는 정원에서 함께 아침을 먹고 누구나 잼이나 꿀이나 신선한 사과를 가져올 수 "
    "있습니다. 비가 오면 모든 행사는 체육관 안에서 열리고 늦게 오는 손님은 옆문으로 들어오면 됩니다."
)
ARABIC = (
    "تجتمع لجنة القرية هذا المساء في المدرسة القديمة لتحضير عيد الحصاد. يوافق العمدة على دفع تكاليف الموسيقى إذا نصب "
    "السكان الخيام وزينوا الساحة بالزهور. يستطيع الأطفال مرافقة الموكب مع آبائهم لأن الخيول تخاف من صوت الطبول. يحضر "
    "المخبز الخبز لجميع الزوار ويغلق رجال الإطفاء الطريق خلف الكنيسة طوال النهار. بعد العيد ينظف الجميع الساحة معا "
    "ويعيدون الطاولات إلى المدرسة. وفي الصباح التالي يوجد فطور مشترك في الحديقة ويستطيع كل واحد أن يحضر المربى أو العسل "
    "أو التفاح الطازج من بستانه، وإذا نزل المطر تقام كل الفعاليات داخل القاعة الكبيرة."
)
THAI = (
    "คณะกรรมการหมู่บ้านจะประชุมกันเย็นนี้ที่โรงเรียนเก่าเพื่อเตรียมงานฉลองการเก็บเกี่ยว ผู้ใหญ่บ้านยินดีจ่ายค่าดนตรีถ้าชาวบ้านช่วย"
    "กางเต็นท์และประดับลานด้วยดอกไม้ เด็กเดินตามขบวนกับพ่อแม่ได้เพราะม้าตกใจเสียงกลอง ร้านขนมปังเตรียมขนมปังสำหรับแขกทุกคน "
    "และนักดับเพลิงปิดถนนหลังโบสถ์ตลอดวัน หลังงานเลี้ยงทุกคนช่วยกันทำความสะอาดลานและยกโต๊ะกลับโรงเรียน"
)
HINDI = (
    "गाँव की समिति आज शाम पुराने स्कूल में फसल के उत्सव की तैयारी के लिए मिलती है। मुखिया संगीत का खर्च देने को तैयार है अगर लोग "
    "तंबू लगाएँ और चौक को फूलों से सजाएँ। बच्चे अपने माता पिता के साथ जुलूस में चल सकते हैं क्योंकि घोड़े ढोल की आवाज़ से डरते हैं। "
    "बेकरी सब मेहमानों के लिए रोटी बनाती है और दमकल वाले पूरे दिन मंदिर के पीछे की सड़क बंद रखते हैं। उत्सव के बाद सब मिलकर चौक "
    "साफ करते हैं और मेज़ें स्कूल में वापस रखते हैं। अगली सुबह बगीचे में सबके लिए नाश्ता होता है और हर कोई शहद या ताज़े सेब ला सकता है।"
)
SHORT = (
    "The bakery on the corner opens early in the morning and closes when all the bread has been sold to its customers."
)
ASK = "Explain to a beginner how the engine of a small boat works and what has to be checked before every trip to the sea."
TEXTS = {name: text for name, text in vars().items() if name.isupper() and isinstance(text, str)}
