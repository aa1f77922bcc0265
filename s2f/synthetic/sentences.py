"""The sentences that the synthetic speakers read: written for this project, public domain (CC0 1.0)."""

ENGLISH = (
    "The quick brown dog watched nine grey geese cross the frozen river before breakfast.",
    "My younger brother keeps a jar of orange marbles on the shelf above his bed.",
    "If the weather clears by Thursday, we should paint the garden fence bright yellow.",
    "She poured hot tea into a chipped blue cup and thought about the long voyage home.",
    "Five judges agreed that the choir had never sung with such joy and measured care.",
    "Put the heavy boxes near the window, then check whether the lights still work.",
    "A thin fog rolled over the harbour while the fishermen mended their torn nets.",
    "Would you rather walk through the quiet village or take the early train to the coast?",
    "Uncle George usually buys fresh bread, sharp cheese and six ripe peaches at the market.",
    "Nothing pleases the old clockmaker more than a watch that has begun to tick again.",
    "The shop on the corner sells copper kettles, woollen scarves and very small lamps.",
    "Early in the morning a tall ship slipped past the lighthouse without a sound.",
    "Please measure the kitchen table twice before you choose a new oak board.",
    "Most of the visitors enjoyed the exhibition, although the rooms were rather chilly.",
)

GERMAN = (
    "Der kleine Junge zeigte seiner Großmutter stolz den bunten Drachen über dem Feld.",
    "Am frühen Morgen hört man hier nur das Rauschen der Bäume und einen fernen Zug.",
    "Möchten Sie den Kaffee lieber schwarz trinken oder noch etwas Milch dazu nehmen?",
    "Unsere Nachbarin züchtet weiße Rosen und verkauft sie jeden Freitag auf dem Markt.",
    "Wenn es morgen nicht regnet, fahren wir mit dem Fahrrad durch das ganze Tal.",
    "Zwölf hungrige Gäste warteten geduldig, bis endlich die heiße Suppe gebracht wurde.",
    "Das alte Buch roch nach Staub, aber jede einzelne Seite war noch gut zu lesen.",
    "Pünktlich um acht Uhr öffnete der Bäcker die Tür und grüßte freundlich die Kinder.",
    "Mein Bruder sucht seit gestern den Schlüssel, der unter dem Teppich liegen muss.",
    "Die Lehrerin erklärte ruhig, warum der Mond in manchen Nächten größer aussieht.",
    "Die alte Uhr im Flur schlägt jede Stunde ein wenig zu spät.",
    "Im Herbst sammeln wir Kastanien und basteln daraus lustige Tiere mit dünnen Beinen.",
    "Er legte den blauen Koffer vorsichtig auf das Bett und suchte nach seinen Papieren.",
    "Hinter der Brücke beginnt ein schmaler Weg, der bis zum stillen See hinunterführt.",
)

FRENCH = (
    "Le vieux jardinier arrose ses fleurs chaque matin avant que le soleil ne chauffe la cour.",
    "Ma cousine a trouvé un joli bouton rouge sous le banc de la petite gare.",
    "Voulez-vous un peu de pain frais avec ce fromage que j'ai rapporté de la montagne ?",
    "Quand la pluie tombe sur le toit, les enfants inventent de longues histoires de pirates.",
    "Un grand oiseau blanc tournait lentement au-dessus du champ de blé mûr.",
    "Il faudrait réparer la serrure, changer l'ampoule et repeindre la porte en bleu.",
    "Hier soir, nous avons marché jusqu'au phare pour regarder passer les bateaux.",
    "Son professeur de musique joue du violon, de la guitare et parfois de l'accordéon.",
    "Cette soupe manque de sel, mais elle sent très bon le thym et le laurier.",
    "Quelqu'un a laissé une paire de gants gris près de la fenêtre ouverte.",
    "Le boulanger ouvre sa boutique à six heures et vend d'abord les brioches encore tièdes.",
    "Nous cherchions une petite maison avec un jardin, deux chambres et une grande cuisine.",
    "Mon oncle répare des vélos anciens dans un atelier plein d'outils bien rangés.",
    "Si tu passes par le marché, rapporte des poires, du beurre et un bouquet de persil.",
)

SPANISH = (
    "La vecina del tercer piso riega sus plantas mientras canta canciones muy antiguas.",
    "El perro de mi hermano ladra cada vez que pasa el cartero con su bicicleta roja.",
    "Si mañana hace buen tiempo, llevaremos a los niños a jugar junto al río.",
    "Un señor mayor compró queso, jamón y una docena de huevos en la tienda de la esquina.",
    "¿Prefieres viajar en tren por la costa o cruzar la sierra en un autobús pequeño?",
    "Las campanas de la iglesia sonaron doce veces cuando empezó la fiesta del pueblo.",
    "Ayer encontré una llave oxidada dentro del cajón donde guardo los mapas viejos.",
    "Mi abuela prepara una sopa caliente con ajo, zanahoria y un poco de pimienta.",
    "El barco llegó tarde al puerto porque hubo mucha niebla durante toda la noche.",
    "Aquel joven escribe cartas largas y las firma siempre con tinta verde.",
    "El reloj de la plaza marca la hora con un leve retraso desde el verano pasado.",
    "Mi tío pinta paisajes de montaña y los regala a sus amigos por Navidad.",
    "Cuando terminó la lluvia, salimos al patio para recoger las hojas secas.",
    "La maestra pidió que cada alumno trajera una fruta, un lápiz y una fotografía.",
)

MANDARIN = (
    "今天早上天气很好，我们一起去公园散步，还看见了几只白鸟。",
    "我哥哥每天骑自行车上班，路上常常买一杯热豆浆。",
    "请把那本红色的书放在桌子上，然后帮我关一下窗户。",
    "奶奶在院子里种了许多花，春天的时候特别香。",
    "如果明天不下雨，孩子们就可以在河边放风筝。",
    "他昨天晚上写了一封长信，告诉朋友家里的新消息。",
    "老师笑着说，这个问题虽然很难，但是大家都答对了。",
    "火车站旁边有一家小饭馆，那里的鱼汤非常有名。",
    "你想喝绿茶还是喝咖啡？我们还有一点儿甜面包。",
    "月亮慢慢升起来，照亮了山下安静的村庄和小路。",
    "妈妈把洗好的衣服挂在阳台上，风一吹就轻轻地摇。",
    "下个星期我打算去山里住几天，每天读书和画画。",
    "商店里的灯已经关了，街上只有几个人在等公共汽车。",
    "弟弟学会了游泳以后，每个夏天都想去海边玩。",
)

HINDI = (
    "आज सुबह मौसम बहुत अच्छा था, इसलिए हम सब बगीचे में घूमने गए।",
    "मेरे भाई ने बाज़ार से ताज़े फल, सब्ज़ियाँ और थोड़ा दूध खरीदा।",
    "क्या आप मुझे बता सकते हैं कि अगली गाड़ी कितने बजे आएगी?",
    "दादी हर शाम बच्चों को पुराने राजा और चालाक लोमड़ी की कहानी सुनाती हैं।",
    "नदी के किनारे एक छोटा सा घर है जिसकी छत लाल रंग की है।",
    "अगर कल बारिश नहीं हुई तो हम लोग पहाड़ पर चढ़ने जाएँगे।",
    "शिक्षक ने धीरे से दरवाज़ा खोला और सभी छात्रों को नमस्ते कहा।",
    "उसकी घड़ी टूट गई थी, फिर भी वह ठीक समय पर स्टेशन पहुँच गया।",
    "गरम चाय के साथ थोड़ी मिठाई मिल जाए तो मज़ा आ जाता है।",
    "रात को आसमान में अनगिनत तारे चमकते हैं और गाँव शांत हो जाता है।",
    "पिताजी ने पुरानी साइकिल ठीक करके मुझे जन्मदिन पर दे दी।",
    "सर्दियों की धूप में बैठकर मूँगफली खाना मुझे बहुत पसंद है।",
    "बाज़ार की तंग गली में एक बूढ़ा आदमी मिट्टी के खिलौने बेचता है।",
    "जब बस देर से आई तो सब लोग पेड़ की छाया में बैठ गए।",
)

# One entry per language of `s2f.synthetic.speech.LANGUAGES`.
SENTENCES = {
    "en-us": ENGLISH,
    "de": GERMAN,
    "fr": FRENCH,
    "es": SPANISH,
    "cmn": MANDARIN,
    "hi": HINDI,
}
